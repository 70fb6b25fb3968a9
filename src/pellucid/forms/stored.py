"""Forms of lifted parts, whose vectors are data: what they make of a part's own output, in its own coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.graph import GraphNode
from pellucid.exact.model import Model
from pellucid.exact.ops import linear
from pellucid.exact.rules import head_weights
from pellucid.exact.views import LayerView
from pellucid.family.blocks import Block
from pellucid.family.slots import Slot
from pellucid.forms.form import FormInput, Heads, MeanOf, Neurons, Sharing, StoredForm, Tensors, Together

# --- what heads move --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lifted(StoredForm):
    """A head's OV along a few directions of what it mixes (z): mean + (z − mean) · read · write. Rank 0 is its mean."""

    reads: ClassVar = ("z",)
    address: Address
    mean: Float[Tensor, " dim"]
    read: Float[Tensor, "dim rank"]
    write: Float[Tensor, "rank dim"]

    @property
    def rank(self) -> int:
        """How many directions."""
        return self.read.shape[1]

    @property
    def is_tuned(self) -> bool:
        """Whether it is more than a mean."""
        return self.rank > 0

    def twin(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """What the head carries in the place of `z`."""
        centred: Tensor = z - self.mean.to(z)
        return self.mean.to(z) + (centred @ self.read.to(z)) @ self.write.to(z)

    def run(self, seen: FormInput) -> Float[Tensor, "batch pos dim"]:
        """What the head carries, from what it mixes."""
        return self.twin(seen["z"][:, :, self.address.index])

    def together(self) -> type[Together[Any]]:
        """One head after the other; tuned in one matrix."""
        return _Moves

    def named(self, model: Model) -> Tensors:
        """The vectors as a program reads them, in coordinates of the residual stream.

        Where the head's values are not its own, `read` and `centre` are of what it mixes.
        """
        address = self.address
        if not model.decoder.alone:
            out = model.layer(address.layer).out[address.index].float()
            read, centre = self.read, self.mean @ self.read
            return {f"{address}.read": read, f"{address}.write": self.write @ out, f"{address}.centre": centre}
        own = head_weights(model.weights, model.decoder, address.layer, address.index)
        into, bias, out = own.value.float(), own.value_bias.float(), own.out.float()
        return {
            f"{address}.read": into @ self.read,
            f"{address}.write": self.write @ out,
            f"{address}.centre": (self.mean - bias) @ self.read,
        }

    @classmethod
    def restored(cls, tensors: Tensors, sharing: Sharing, mean: MeanOf) -> Iterator[Lifted]:
        """The heads whose two matrices are among `tensors`."""
        del sharing
        for part in (name.removesuffix(".read") for name in tensors if name.endswith(".OV.read")):
            address = Address.parse(part)
            yield cls(address, mean(address), tensors[f"{part}.read"], tensors[f"{part}.write"])


class _Moves(Heads[Lifted]):
    """Heads of a layer that move along few directions."""

    @property
    def vectors(self) -> Tensors:
        """What each reads, and what it writes."""
        named = {"read": [form.read for form in self.forms], "write": [form.write for form in self.forms]}
        return {f"{a}.{name}": v for name, held in named.items() for a, v in zip(self.addresses, held, strict=True)}

    def slots(self, block: Block) -> Sequence[Slot]:
        """The values of heads."""
        return (block.attention.v,)

    def write(self, own: LayerView, tensors: Mapping[str, Tensor]) -> None:
        """Values go through the directions: mean + (z − mean) · read · write in the place of z."""
        raw, weights, biases = self.model.layer(self.layer), [], []
        assert raw.value_bias is not None
        assert own.value_bias is not None
        for form in self.forms:
            head, mean = form.address.index, form.mean.to(raw.value)
            through = tensors[f"{form.address}.read"] @ tensors[f"{form.address}.write"]
            weights.append(raw.value[:, head] @ through)
            biases.append((raw.value_bias[head] - mean) @ through + mean)
        at = torch.tensor(self.parts, device=self.model.device)
        own.value[:, at], own.value_bias[at] = torch.stack(weights, 1), torch.stack(biases)

    def named(self) -> Tensors:
        """The vectors of each, and the rank that it was tuned at."""
        return {name: t for form in self.forms for name, t in (form.named(self.model) | _tuned(form)).items()}


def _tuned(form: StoredForm) -> Tensors:
    """What says that a part runs at the rank that it was tuned at, and no other."""
    return {f"{form.address}.tuned": torch.tensor([float(form.rank)])}


# --- what neurons write -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Still(StoredForm):
    """A neuron's OUT that is the same everywhere: what it writes at its mean post-activation."""

    address: Address
    post: float

    @property
    def rank(self) -> int:
        """No directions: a mean."""
        return 0

    @property
    def constant(self) -> float:
        """The mean."""
        return self.post

    def twin(self, post: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The post-activation in the place of `post`."""
        return torch.full_like(post, self.post)

    def run(self, seen: FormInput) -> Float[Tensor, "batch pos"]:
        """The post-activation."""
        return torch.full(seen.ids.shape, self.post, device=seen.ids.device)

    def together(self) -> type[Together[Any]]:
        """One row of numbers."""
        return _Stills


class _Stills(Neurons[Still]):
    """Neurons of a layer that always write the same."""

    def all(self, seen: FormInput) -> Float[Tensor, "batch pos neuron"]:
        """The post-activation of each of them."""
        posts = torch.tensor([form.post for form in self.forms], device=seen.ids.device)
        return posts.expand(*seen.ids.shape, -1)


# --- what neurons read ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Channel(StoredForm):
    """A neuron's IN along the channels of its layer: pre-activation = x · read · write + bias, x what LN2 leaves."""

    reads: ClassVar = ("LN2",)
    in_weights: ClassVar = True
    address: Address
    read: Float[Tensor, "model rank"]
    write: Float[Tensor, " rank"]
    bias: float

    @property
    def is_tuned(self) -> bool:
        """Always."""
        return True

    @property
    def rank(self) -> int:
        """How many channels."""
        return self.read.shape[1]

    @property
    def shared(self) -> int:
        """All of them: others of its layer read the same."""
        return self.rank

    def twin(self, x: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch"]:
        """The pre-activation, from the normed residual stream."""
        said: Tensor = (x @ self.read.to(x)) @ self.write.to(x) + self.bias
        return said

    def run(self, seen: FormInput) -> Float[Tensor, "batch pos"]:
        """The pre-activation."""
        return self.twin(seen["LN2"])

    def together(self) -> type[Together[Any]]:
        """Neurons that read the same channels."""
        return _Reads

    @classmethod
    def restored(cls, tensors: Tensors, sharing: Sharing, mean: MeanOf) -> Iterator[Channel]:
        """The neurons that share vectors of their layer."""
        del mean
        for name, neurons in sharing.items():
            read, write, bias = (tensors[f"{name}.{part}"] for part in ("read", "write", "bias"))
            for n, neuron in enumerate(neurons):
                address = Address("IN", int(name[1:].partition(".")[0]), neuron)
                yield cls(address, read, write[:, n], float(bias[n]))


def stacked(
    channels: Sequence[Channel],
) -> tuple[Float[Tensor, "model rank"], Float[Tensor, "rank neuron"], Float[Tensor, " neuron"]]:
    """What neurons of a layer read together, which read the same channels: directions, weights and biases."""
    write = torch.stack([form.write for form in channels], 1)
    return channels[0].read, write, torch.tensor([form.bias for form in channels])


class _Reads(Neurons[Channel]):
    """Neurons of a layer that read its channels."""

    def __init__(self, model: Model, forms: Sequence[Channel]) -> None:
        super().__init__(model, forms)
        self.key = self.at.named("IN")
        self.stacked = stacked(self.forms)

    def all(self, seen: FormInput) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activation of each of them."""
        x = seen["LN2"]
        read, write, bias = (part.to(x) for part in self.stacked)
        return (x @ read) @ write + bias

    @property
    def vectors(self) -> Tensors:
        """What all of them read, and what each makes of it."""
        return {f"{self.key}.{n}": part for n, part in zip(("read", "write", "bias"), self.stacked, strict=True)}

    @property
    def sharing(self) -> Sharing:
        """These neurons."""
        return {self.key: tuple(self.parts)}

    def slots(self, block: Block) -> Sequence[Slot]:
        """What the activation function is applied to."""
        return (block.mlp.first,)

    def write(self, own: LayerView, tensors: Mapping[str, Tensor]) -> None:
        """Each neuron's column of weights, and its bias."""
        read, write, bias = (tensors[f"{self.key}.{part}"].to(own.read) for part in ("read", "write", "bias"))
        at = torch.tensor(self.parts, device=self.model.device)
        assert own.read_bias is not None
        own.read[:, at], own.read_bias[at] = read @ write, bias

    def shorter(self, node: GraphNode) -> GraphNode | None:
        """Where all neurons of the layer read them, channels first: that is less to do."""
        if node.name != self.name or self.parts != list(range(self.model.decoder.sizes.neuron)):
            return None
        return GraphNode(
            node.name, _read, node.inputs, tuple(f"{self.key}.{part}" for part in ("read", "write", "bias"))
        )

    def named(self) -> Tensors:
        """The vectors as a program reads them; neurons that are not among these have no numbers (NaN)."""
        read, write, bias = self.stacked
        width, where = self.model.decoder.sizes.neuron, torch.tensor(self.parts)
        nothing = torch.full((len(write), width), math.nan)
        return {
            f"{self.key}.read": read,
            f"{self.key}.write": nothing.index_copy(1, where, write),
            f"{self.key}.centre": torch.zeros(len(write)),
            f"{self.key}.offset": torch.full((width,), math.nan).index_copy(0, where, bias),
            f"{self.key}.tuned": torch.tensor([float(len(write))]),
        }


def _read(
    x: Float[Tensor, "batch pos model"],
    read: Float[Tensor, "model channel"],
    write: Float[Tensor, "channel neuron"],
    bias: Float[Tensor, " neuron"],
) -> Float[Tensor, "batch pos neuron"]:
    return linear(x @ read, write, bias)


# --- where heads look -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Compares(StoredForm):
    """A head's QK along a few directions: score = (x_q · read_q + bias) · (x_k · read_k) · scale, x what LN1 leaves."""

    reads: ClassVar = ("LN1",)
    in_weights: ClassVar = True
    address: Address
    read_q: Float[Tensor, "model rank"]
    read_k: Float[Tensor, "model rank"]
    bias: Float[Tensor, " rank"]

    @property
    def is_tuned(self) -> bool:
        """Always."""
        return True

    @property
    def rank(self) -> int:
        """How many directions."""
        return self.read_q.shape[1]

    def twin(self, x: Float[Tensor, "batch pos model"], scale: float) -> Float[Tensor, "batch query key"]:
        """The scores of all pairs, from the normed residual stream; those of later keys mean nothing."""
        query, key = x @ self.read_q.to(x) + self.bias.to(x), x @ self.read_k.to(x)
        scores: Tensor = query @ key.transpose(1, 2) * scale
        return scores

    def run(self, seen: FormInput) -> Float[Tensor, "batch query key"]:
        """The scores."""
        return self.twin(seen["LN1"], seen.scale)

    def together(self) -> type[Together[Any]]:
        """One head after the other; as weights in one matrix."""
        return _Comparing

    @property
    def vectors(self) -> Tensors:
        """Its vectors by name: as a program reads them."""
        named = {"read_q": self.read_q, "read_k": self.read_k, "bias": self.bias}
        return {f"{self.address}.{name}": tensor for name, tensor in named.items()}

    @classmethod
    def restored(cls, tensors: Tensors, sharing: Sharing, mean: MeanOf) -> Iterator[Compares]:
        """The heads whose directions are among `tensors`."""
        del sharing, mean
        for part in (name.removesuffix(".read_q") for name in tensors if name.endswith(".read_q")):
            yield cls(Address.parse(part), *(tensors[f"{part}.{name}"] for name in ("read_q", "read_k", "bias")))


class _Comparing(Heads[Compares]):
    """Heads of a layer that compare few directions: their first columns of queries and keys; the others are 0."""

    @property
    def vectors(self) -> Tensors:
        """The directions of each, and what is added to what it seeks."""
        return {name: tensor for form in self.forms for name, tensor in form.vectors.items()}

    def slots(self, block: Block) -> Sequence[Slot]:
        """Queries and keys."""
        return (block.attention.q, block.attention.k)

    def write(self, own: LayerView, tensors: Mapping[str, Tensor]) -> None:
        """The columns of each head; what its key added is the same for all keys."""
        size, at = self.model.decoder.sizes.dim, torch.tensor(self.parts, device=self.model.device)

        def columns(name: str) -> list[Tensor]:
            held = (tensors[f"{address}.{name}"].to(own.query) for address in self.addresses)
            return [F.pad(tensor, (0, size - tensor.shape[-1])) for tensor in held]

        assert own.query_bias is not None
        assert own.key_bias is not None
        own.query[:, at], own.key[:, at] = torch.stack(columns("read_q"), 1), torch.stack(columns("read_k"), 1)
        own.query_bias[at], own.key_bias[at] = torch.stack(columns("bias")), 0.0

    def named(self) -> Tensors:
        """The vectors of each, and the rank that it was tuned at."""
        return {name: t for form in self.forms for name, t in (form.vectors | _tuned(form)).items()}

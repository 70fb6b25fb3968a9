"""The fast twin of a program: the exact model with the outputs of some parts replaced by what their forms say.

Sources here are functions of the tokens alone, and lifted parts of what the raw part carries, so a twin is the exact
graph with edits; what parts read along few directions is folded into its weights. It agrees with the emitted program to
1e-4 of its logits (tested), and is what fitting and linking run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.forms import Fires, Looks, Tables
from pellucid.forms.stored import Channel, Compares, Lifted, Still, Stored, stacked

Form = Looks | Fires | Stored
Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """The replaced parts of one layer: heads by number, and neurons by number with their common tables."""

    looks: tuple[tuple[int, Looks], ...]
    neurons: Int[Tensor, " chosen"]
    tables: Tables | None
    lifted: tuple[Lifted, ...]
    still: Int[Tensor, " still"]
    posts: Float[Tensor, " still"]

    def edits(self, number: int, ids: Int[Tensor, "batch pos"]) -> dict[str, Edit]:
        """What to put in place of the layer's activations for the rows `ids`."""
        edits: dict[str, Edit] = {}
        if self.looks:
            edits[f"L{number:02d}.scores"] = _scores(self, ids)
        if self.lifted:
            edits[f"L{number:02d}.z"] = _carried(self)
        if self.tables is not None:
            edits[f"L{number:02d}.pre"] = _pre_activations(self, self.tables, ids)
        if len(self.still):
            edits[f"L{number:02d}.post"] = _activations(self)
        return edits


class Twin:
    """`model` with every part in `forms` running its form alone (its residual off), everything else exact."""

    def __init__(self, model: Model, forms: Mapping[Address, Form] | Iterable[Form]) -> None:
        self.model = model
        self.forms = list(forms.values()) if isinstance(forms, Mapping) else list(forms)
        self.layers = {n: _layer(model, n, self.forms) for n in sorted({form.address.layer for form in self.forms})}
        self._folded = {n: folded(model, n, self.forms) for n in self.layers}
        self._fold()

    def _fold(self) -> None:
        """Make the exact model with what is folded into its weights."""
        changed = {name: weight for of_layer in self._folded.values() for name, weight in of_layer.items()}
        self.exact = self.model.but(self.model.weights | changed, self.model.graph) if changed else self.model

    def edits(self, ids: Int[Tensor, "batch pos"], first: int = 0) -> dict[str, Edit]:
        """What to put in place of activations for the rows `ids`, from layer `first` on."""
        found: dict[str, Edit] = {}
        for number, layer in self.layers.items():
            found |= layer.edits(number, ids) if number >= first else {}
        return found

    def without(self, address: Address) -> Twin:
        """This twin with the part at `address` raw again."""
        other = copy(self)
        other.forms = [form for form in self.forms if form.address != address]
        other.layers = self.layers | {address.layer: _layer(self.model, address.layer, other.forms)}
        other._folded = self._folded | {address.layer: folded(self.model, address.layer, other.forms)}
        other._fold()
        return other

    def run(
        self,
        ids: Int[Tensor, "batch pos"],
        want: Sequence[str],
        given: Mapping[str, Tensor] | None = None,
        first: int = 0,
    ) -> dict[str, Tensor]:
        """The activations `want`, restarting from those `given` where layers before `first` need not run."""
        return self.exact.run(ids, tuple(want), given, self.edits(ids, first))

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token of whole rows."""
        return self.run(ids, ("logits",))["logits"]


def _layer(model: Model, number: int, forms: list[Form]) -> Layer:
    looks = tuple((f.address.index, f) for f in forms if isinstance(f, Looks) and f.address.layer == number)
    fires = [f for f in forms if isinstance(f, Fires) and f.address.layer == number]
    neurons = torch.tensor([f.address.index for f in fires], dtype=torch.long, device=model.device)
    tables = Tables.of(fires, model.n_vocab, model.device) if fires else None
    lifted = tuple(f for f in forms if isinstance(f, Lifted) and f.address.layer == number)
    means = [f for f in forms if isinstance(f, Still) and f.address.layer == number]
    still = torch.tensor([f.address.index for f in means], dtype=torch.long, device=model.device)
    posts = torch.tensor([f.post for f in means], dtype=model.dtype, device=model.device)
    return Layer(looks, neurons, tables, lifted, still, posts)


def folded(model: Model, number: int, forms: Iterable[Form]) -> dict[str, Tensor]:
    """The weights of a layer that read along few directions alone, by name; none where no form does.

    A head compares its directions in the first of its columns of queries and keys; the others are 0.
    """
    forms, block, found = list(forms), f"h.{number}", dict[str, Tensor]()
    channels = [f for f in forms if isinstance(f, Channel) and f.address.layer == number]
    compares = [f for f in forms if isinstance(f, Compares) and f.address.layer == number]
    if channels:
        name = f"{block}.mlp.c_fc"
        weight, bias = (model.weights[f"{name}.{kind}"].clone() for kind in ("weight", "bias"))
        at = torch.tensor([f.address.index for f in channels], device=weight.device)
        read, write, biases = (part.to(weight) for part in stacked(channels))
        weight[:, at], bias[at] = read @ write, biases
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    if compares:
        name, size, width = f"{block}.attn.c_attn", model.decoder.sizes.dim, model.decoder.sizes.model
        weight, bias = (model.weights[f"{name}.{kind}"].clone() for kind in ("weight", "bias"))
        for form in compares:
            query, key = form.address.index * size, width + form.address.index * size
            for start, read in ((query, form.read_q), (key, form.read_k)):
                weight[:, start : start + size], bias[start : start + size] = 0.0, 0.0
                weight[:, start : start + form.rank] = read.to(weight)
            bias[query : query + form.rank] = form.bias.to(bias)
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return found


def _scores(layer: Layer, ids: Tensor) -> Edit:
    def edit(scores: Tensor) -> Tensor:
        scores = scores.clone()
        for head, form in layer.looks:
            scores[:, head] = form.twin(ids).to(scores.dtype)
        return scores

    return edit


def _carried(layer: Layer) -> Edit:
    def edit(z: Tensor) -> Tensor:
        z = z.clone()
        for form in layer.lifted:
            z[:, :, form.address.index] = form.twin(z[:, :, form.address.index])
        return z

    return edit


def _activations(layer: Layer) -> Edit:
    return lambda post: post.index_copy(2, layer.still, layer.posts.expand(*post.shape[:2], -1))


def _pre_activations(layer: Layer, tables: Tables, ids: Tensor) -> Edit:
    def edit(pre: Tensor) -> Tensor:
        if len(layer.neurons) == pre.shape[-1]:
            return tables(ids).to(pre.dtype)[..., layer.neurons.argsort()]
        pre = pre.clone()
        pre[..., layer.neurons] = tables(ids).to(pre.dtype)
        return pre

    return edit

"""The protocol of forms: what a part can run as in the place of its weights, and all that is asked of it.

A form is a small frozen value about one part. `run` is what it says; from that follow what it costs (`effect`), the
fast twin (`twin`) and its scores (`isolated`, `worst_places`). A `Written` form is text, and prints itself as a
statement of the program; a `Stored` one keeps vectors, which may be tuned. Whatever else differs from form to form is a
method here, so that stages ask, and do not look which form they have. `Together` are forms of one class in one layer,
which may know a shorter way than one after the other.

A statement in a word of the form's own is read, counted and told of by that `word` (`listing/word.py`), which also
brings the file of a program that runs it. `known` lists the forms. `tests/forms/test_form.py` adds one, start to end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.graph import GraphNode
from pellucid.exact.model import Model
from pellucid.exact.views import LayerView
from pellucid.family import seams
from pellucid.family.blocks import Block
from pellucid.family.slots import Slot
from pellucid.forms.outputs import output_of
from pellucid.listing.word import StatementWord

TokenText = Callable[[int], str | int]
"""How a token is written in a source: as its text, or as its id where it has no text of its own."""
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class FormInput:
    """What a form computes from: the tokens, and the activations of its layer that it `reads`, by their short names."""

    ids: Int[Tensor, "batch pos"]
    values: Mapping[str, Tensor]
    at: seams.At
    scale: float
    """What scores of the layer are multiplied by."""

    def __getitem__(self, name: str) -> Tensor:
        """The activation of that name: `seen["LN1"]`."""
        return self.values[self.at.named(name)]


class Form(ABC):
    """What one part can run as. Final classes are frozen dataclasses with an `address`."""

    address: Address
    reads: ClassVar[tuple[str, ...]] = ()
    """The activations of its layer that `run` asks for, what the part itself puts out among them."""
    in_weights: ClassVar[bool] = False
    """Whether a twin runs it as weights of its layer, see `Together.write`; needed where it reads anything else."""

    @abstractmethod
    def run(self, seen: FormInput) -> Float[Tensor, batch * rest]:
        """What it puts out in the part's place, see `outputs`.

        Scores [batch, query, key] (QK; those of later keys mean nothing), [batch, pos, dim] (OV), or [batch, pos]
        (IN, OUT).
        """

    @property
    def constant(self) -> float | None:
        """The one number that it puts out everywhere; None where it puts out anything else."""
        return None

    @property
    def shared(self) -> int:
        """Along how many directions it reads what others of its layer read too; 0 where it shares nothing."""
        return 0

    @property
    def is_tuned(self) -> bool:
        """Whether it has vectors that can be tuned."""
        return False

    def together(self) -> type[Together[Any]]:
        """What runs several forms of its class, in a layer, at once."""
        return Heads if self.address.kind in ("QK", "OV") else Neurons

    kept_as: ClassVar[type[Kept] | None] = None
    """The shape in which forms of this class are kept between runs; None where they follow from vectors and a rank."""

    @classmethod
    def restored(cls, tensors: Tensors, sharing: Sharing, mean: MeanOf) -> Iterator[StoredForm]:
        """The forms of this class among tuned vectors: `tensors` by name, and who shares some (`sharing`).

        `mean` is what a part puts out on average.
        """
        del tensors, sharing, mean
        yield from ()


class Written(Form):
    """A form that is text: a source."""

    word: ClassVar[StatementWord | None] = None
    """The word of its statement, where it brings one: how that is read, counted, told of, and run by a program.

    None where its statement is a function under `@source`, or in a word that every program knows.
    """

    @abstractmethod
    def numbers(self, token_text: TokenText) -> int:
        """How many numbers its statement holds, as `listing/count.py` counts them."""

    @abstractmethod
    def name(self, token_text: TokenText) -> str:
        """A name from the rule, fit for a function."""

    @abstractmethod
    def describe(self, token_text: TokenText) -> str:
        """The rule as one plain sentence."""

    @abstractmethod
    def statement(self, token_text: TokenText, evidence_lines: Sequence[str] = ()) -> str:
        """The statement as it stands in a file of the layer; `evidence_lines` say what its numbers rest on."""

    @abstractmethod
    def kept(self) -> Kept:
        """This form as it is kept between runs, of the shape `kept_as`."""

    def told(self) -> Written:
        """What the sentence of `describe` says by itself, where it leaves something out."""
        return self

    @property
    def tokens(self) -> Collection[int]:
        """The tokens that the rule speaks of."""
        return ()


class StoredForm(Form):
    """A form that is data: vectors beside the weights."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """How many directions; 0 is a mean."""


class Kept(Protocol):
    """A form as it is kept between runs: a closed dataclass, whose fields no other form has."""

    def form(self, address: Address, place: str) -> Written:
        """The form. Raises `ProjectError` naming `place` for what is none."""
        ...


Sharing = Mapping[str, tuple[int, ...]]
"""The parts that share vectors, by the name of these: `{"L01.IN": (3, 17)}`."""
MeanOf = Callable[[Address], Tensor]

F = TypeVar("F", bound=Form)


# --- several at once --------------------------------------------------------------------------------------------------

Where = tuple[Any, ...]


class Together(ABC, Generic[F]):
    """Forms of one class in one layer, run at once."""

    def __init__(self, model: Model, forms: Sequence[F]) -> None:
        self.model, self.forms = model, tuple(forms)
        first = self.forms[0]
        self.layer, self.output = first.address.layer, output_of(model.decoder, first.address)
        self.at = seams.at(self.layer)
        self.in_weights, self.felt = first.in_weights, self.at.named(self.output.felt)
        self.name = self.at.named(self.output.name)
        self.reads = [self.at.named(name) for name in first.reads]

    @property
    def addresses(self) -> list[Address]:
        """What they stand for."""
        return [form.address for form in self.forms]

    @property
    def parts(self) -> list[int]:
        """The numbers of these heads or neurons."""
        return [form.address.index for form in self.forms]

    def seen(self, ids: Int[Tensor, "batch pos"], values: Mapping[str, Tensor]) -> FormInput:
        """What they compute from, `values` being activations by their whole names."""
        return FormInput(ids, values, self.at, self.model.decoder.blocks[self.layer].attention.scale)

    @abstractmethod
    def pieces(self, seen: FormInput) -> Iterator[tuple[Where, Tensor]]:
        """What they put out: where in the activation, and what stands there."""

    @property
    @abstractmethod
    def inner(self) -> tuple[int, ...]:
        """The axes of a piece along which a part's own numbers lie, behind the batch."""

    def put(self, value: Tensor, seen: FormInput) -> Tensor:
        """The activation `value` with what they put out in it."""
        value = value.clone()
        for where, piece in self.pieces(seen):
            value[where] = piece.to(value.dtype)
        return value

    # --- as weights of their layer, and tuned

    @property
    def vectors(self) -> Tensors:
        """What can be tuned, by name."""
        return {}

    @property
    def sharing(self) -> Sharing:
        """Which parts share vectors, by the name of these."""
        return {}

    def slots(self, block: Block) -> Sequence[Slot]:
        """The linear maps of their layer that `write` changes."""
        del block
        return ()

    def write(self, own: LayerView, tensors: Mapping[str, Tensor]) -> None:
        """Put vectors (`tensors`, see `vectors`) into the matrices of `own`, a copy; gradients flow to them."""
        del own, tensors
        raise TypeError(f"{type(self).__name__} cannot be run as weights")

    def shorter(self, node: GraphNode) -> GraphNode | None:
        """What computes a node of the graph from `vectors` with less to do than from weights, if anything does."""
        del node
        return None

    def named(self) -> Tensors:
        """Their tuned vectors as a program reads them, by name."""
        return {}


class Heads(Together[F]):
    """Heads, one after the other."""

    inner = (1, 2)

    def pieces(self, seen: FormInput) -> Iterator[tuple[Where, Tensor]]:
        """One piece a head."""
        for form in self.forms:
            yield self.output.of(form.address.index), form.run(seen)


class Neurons(Together[F]):
    """Neurons, in one piece."""

    inner = (1,)

    def all(self, seen: FormInput) -> Float[Tensor, "batch pos neuron"]:
        """What each of them puts out."""
        return torch.stack([form.run(seen) for form in self.forms], -1)

    def pieces(self, seen: FormInput) -> Iterator[tuple[Where, Tensor]]:
        """One piece for all."""
        yield (..., self.parts), self.all(seen)

    def put(self, value: Tensor, seen: FormInput) -> Tensor:
        """The activation with what they put out in it; all of it where they are all neurons of their layer."""
        said, at = self.all(seen).to(value.dtype), torch.tensor(self.parts, device=value.device)
        if len(at) == value.shape[-1]:
            return said[..., at.argsort()]
        return value.index_copy(-1, at, said)


def grouped(model: Model, forms: Iterable[Form]) -> list[Together[Any]]:
    """`forms` by layer, class and kind of part, in the order of layers and then as they come."""
    found: dict[tuple[int, type[Form], str], list[Form]] = {}
    for form in forms:
        found.setdefault((form.address.layer, type(form), form.address.kind), []).append(form)
    alike = sorted(found.values(), key=lambda forms: forms[0].address.layer)
    return [forms[0].together()(model, forms) for forms in alike]


def folded(model: Model, groups: Iterable[Together[Any]], tensors: Mapping[str, Tensor]) -> Tensors:
    """The weights of the model that groups write to with their vectors, `tensors`, in them; by name, in copies."""
    changed: Tensors = {}
    for group in groups:
        for slot in group.slots(model.decoder.blocks[group.layer]):
            for name in slot.names(group.layer):
                changed.setdefault(name, model.weights[name].clone())
        group.write(LayerView(model.weights | changed, model.decoder, group.layer), tensors)
    return changed

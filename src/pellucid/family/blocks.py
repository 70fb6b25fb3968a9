"""What a decoder is made of. From these descriptions follow a checkpoint's tensors (`shapes`), which address owns which
of them (`owners`), and the exact graph (`exact/lift.py`). Nothing here names a family.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pellucid.base.address import PartKind, Shape
from pellucid.family.names import Names
from pellucid.family.rotary import Rotary
from pellucid.family.slots import STORED, Sizes, Slot, named


@dataclass(frozen=True)
class Norm:
    """Layer normalization (arXiv 1607.06450) or root mean square normalization (arXiv 1910.07467).

    `plus_one`: the gain is 1 + the stored weight.
    """

    kind: Literal["layer", "rms"]
    tensor: str
    epsilon: float
    plus_one: bool = False
    stored: tuple[str, str] = STORED

    def names(self, layer: int = 0) -> tuple[str, ...]:
        """The names of its gain and, if it centres, its bias."""
        gain, bias = named(self.tensor, self.stored, layer)
        return (gain, bias) if self.kind == "layer" else (gain,)


@dataclass(frozen=True)
class Attention:
    """The heads of a layer. A score is query · key · `scale`, then bounded by `cap`: cap · tanh(score / cap).

    `head_norms` are those of queries and keys before they turn; `behind` norms what all heads write together. A query
    sees `window` keys, its own among them; None: all before it.
    """

    norm: Norm
    q: Slot
    k: Slot
    v: Slot
    o: Slot
    scale: float
    rotary: Rotary | None = None
    head_norms: tuple[Norm, Norm] | None = None
    behind: Norm | None = None
    window: int | None = None
    cap: float | None = None


@dataclass(frozen=True)
class MLP:
    """The neurons of a layer: activation(read · x), or activation(gate · x) · (read · x) where there is a gate."""

    norm: Norm
    read: Slot
    write: Slot
    activation: str
    gate: Slot | None = None
    behind: Norm | None = None

    @property
    def first(self) -> Slot:
        """What the activation function is applied to."""
        return self.gate or self.read


@dataclass(frozen=True)
class Block:
    """A layer. `parallel`: the MLP reads the stream as attention found it, not with what attention wrote."""

    attention: Attention
    mlp: MLP
    parallel: bool = False

    @property
    def slots(self) -> list[Slot]:
        """Its linear maps, in the order in which they are read."""
        at, mlp = self.attention, self.mlp
        return [at.q, at.k, at.v, at.o, *([mlp.gate] if mlp.gate else []), mlp.read, mlp.write]


@dataclass(frozen=True)
class Decoder:
    """A network that reads tokens and says the next one. `unembed` None: tied to `embed`; `positions`: learned ones.

    Blocks may differ in scales, windows, caps and rotary positions, not in which norms and biases they have.

    Names of tensors are those of `names`: as a checkpoint has them, without the prefix of the model inside.
    """

    family: str
    sizes: Sizes
    blocks: tuple[Block, ...]
    embed: str
    final: Norm
    unembed: str | None = None
    positions: str | None = None
    embed_scale: float | None = None
    logit_cap: float | None = None
    upcast: bool = True
    """Whether shares of attention are computed in float32 whatever the model computes in."""
    names: Names = field(default_factory=Names)

    @property
    def layers(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    @property
    def activation(self) -> str:
        """The name of the activation function of its neurons."""
        return self.blocks[0].mlp.activation

    @property
    def tied(self) -> bool:
        """Whether the embedding also says the logits."""
        return self.unembed is None

    @cached_property
    def addresses(self) -> Shape:
        """The set of its addresses."""
        first = self.blocks[0]
        optional: dict[PartKind, object] = {"EMB.POS": self.positions, "QN": first.attention.head_norms}
        optional |= {"KN": first.attention.head_norms, "ATTN.B": first.attention.o.bias, "MLP.B": first.mlp.write.bias}
        optional |= {"ATTN.LN": first.attention.behind, "MLP.LN": first.mlp.behind}
        once: set[PartKind] = {"EMB.TOK", "LN1", "LN2", "LNF"}
        once |= {kind for kind, there in optional.items() if there}
        groups = self.sizes.group if self.grouped else 0
        return Shape(self.layers, self.sizes.head, self.sizes.neuron, self.tied, groups, frozenset(once))

    @property
    def grouped(self) -> bool:
        """Whether several heads share their keys and values."""
        return self.sizes.group < self.sizes.head

    @property
    def alone(self) -> bool:
        """Whether queries, keys and values are each head's own, with biases, and compared as they are read."""
        first = self.blocks[0].attention
        return first.q.bias and not (self.grouped or first.rotary or first.head_norms)

    def norms(self) -> Iterator[tuple[Norm, int, int]]:
        """Each norm with its layer and its width; the last one's layer is 0."""
        for layer, block in enumerate(self.blocks):
            yield block.attention.norm, layer, self.sizes.model
            for norm in block.attention.head_norms or ():
                yield norm, layer, self.sizes.dim
            for other in (block.attention.behind, block.mlp.norm, block.mlp.behind):
                if other is not None:
                    yield other, layer, self.sizes.model
        yield self.final, 0, self.sizes.model

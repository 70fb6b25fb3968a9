"""Where a patched piece begins to matter: one position of the stream, or one key or value, in front of some layer.

Everything but keys and values acts on the layers above through the stream at its own position; what that becomes takes
one position's share of the layer. A key or value acts on all later queries of its own layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.graph import Graph
from pellucid.exact.model import Model
from pellucid.exact.ops import capped
from pellucid.family import needs
from pellucid.family.blocks import Decoder

SiteAt = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "neuron"]
Numbers = Int[Tensor, " n"]

_BASE: dict[str, tuple[str, ...]] = {
    "attn_out": (),
    "mlp_out": ("resid_mid",),
    "z": ("z", "resid_mid"),
    "q": ("z", "resid_mid"),
    "pattern": ("z", "resid_mid"),
    "neuron": ("post", "resid_post"),
}
"""What is read of the base run beside each layer's input, queries, keys and values."""


def restarts(decoder: Decoder) -> bool:
    """Whether a piece can be followed from its own place: layers add what they write, one after another."""
    return not needs.present(decoder, "norms behind", "parallel")


@dataclass(frozen=True)
class Needed:
    """The names to record of the base and of the source run."""

    base: tuple[str, ...]
    source: tuple[str, ...]


def needed(kind: SiteAt, layers: Sequence[int]) -> Needed:
    """What to record to patch pieces of `kind` in `layers`."""
    own = "post" if kind == "neuron" else kind
    base = tuple(f"L{layer:02d}.{name}" for layer in layers for name in _BASE.get(kind, ()))
    return Needed(base, tuple(f"L{layer:02d}.{own}" for layer in layers))


@dataclass(frozen=True)
class Single:
    """The beginnings of all variants of one kind, from what was recorded of the base and the source run."""

    model: Model
    graph: Graph
    kind: SiteAt
    base: Mapping[str, Tensor]
    source: Mapping[str, Tensor]

    @property
    def joins_above(self) -> int:
        """How many layers above its own a piece joins: 0 for what stands in front of attention, keys and values."""
        return 0 if self.kind in ("resid_pre", "k", "v") else 1

    def joining(
        self,
        layer: int,
        own: Numbers,
        member: Numbers,
        position: Numbers,
        row: Numbers,
        first: int,
        keys: Float[Tensor, "n head pos dim"],
        values: Float[Tensor, "n head pos dim"],
    ) -> tuple[Float[Tensor, "n new model"], Float[Tensor, "n new head dim"]]:
        """The stream and the queries in front of `layer` from position `first` on.

        The base run's `keys` and `values` of all positions are changed in place.
        """
        at, here = f"L{layer:02d}", torch.arange(len(row))
        streams, queries = (self.base[f"{at}.{name}"][:, first:][row] for name in ("resid_pre", "q"))
        if self.kind in ("k", "v"):
            held, said = keys if self.kind == "k" else values, self.source[f"{at}.{self.kind}"]
            for head in range(self.shared):
                held[here, member * self.shared + head, position] = said[row, position, member]
            return streams, queries
        stream = self.stream(own, member, position, row)
        given = {f"{at}.resid_pre": stream[:, None], "positions": position[:, None].to(stream.device)}
        read = self.graph.run(self.model.weights, given, (f"{at}.q", f"{at}.k", f"{at}.v"))
        streams[here, position - first] = stream
        queries[here, position - first] = read[f"{at}.q"][:, 0]
        keys[here, :, position] = self.for_heads(read[f"{at}.k"])[:, 0]
        values[here, :, position] = self.for_heads(read[f"{at}.v"])[:, 0]
        return streams, queries

    @property
    def shared(self) -> int:
        """How many heads share a key and a value."""
        return self.model.decoder.sizes.head // self.model.decoder.sizes.group

    def for_heads(self, own: Float[Tensor, "n new group dim"]) -> Float[Tensor, "n new head dim"]:
        """Keys or values, once for each head."""
        return own if self.shared == 1 else own.repeat_interleave(self.shared, dim=2)

    def stream(self, layer: Numbers, member: Numbers, position: Numbers, row: Numbers) -> Float[Tensor, "n model"]:
        """The stream at its own position that each piece leaves behind its layer; they are sorted by layer."""
        parts = []
        for number in layer.unique_consecutive().tolist():  # type: ignore[no-untyped-call]
            here = layer == number
            parts.append(self._in_layer(number, member[here], position[here], row[here]))
        return torch.cat(parts)

    def _in_layer(self, layer: int, member: Numbers, position: Numbers, row: Numbers) -> Float[Tensor, "n model"]:
        at = f"L{layer:02d}"
        if self.kind in ("resid_pre", "resid_post"):
            return self.source[f"{at}.{self.kind}"][row, position]
        if self.kind == "mlp_out":
            return self.base[f"{at}.resid_mid"][row, position] + self.source[f"{at}.mlp_out"][row, position]
        if self.kind == "neuron":
            change = self.source[f"{at}.post"][row, position, member] - self.base[f"{at}.post"][row, position, member]
            write = self.model.layer(layer).write[member]
            return self.base[f"{at}.resid_post"][row, position] + change[:, None] * write
        if self.kind == "resid_mid":
            middle = self.source[f"{at}.resid_mid"][row, position]
        elif self.kind == "attn_out":
            middle = self.base[f"{at}.resid_pre"][row, position] + self.source[f"{at}.attn_out"][row, position]
        else:
            middle = self._middle(layer, member, position, row)
        given = {f"{at}.resid_mid": middle[:, None]}
        return self.graph.run(self.model.weights, given, (f"{at}.resid_post",))[f"{at}.resid_post"][:, 0]

    def _middle(self, layer: int, member: Numbers, position: Numbers, row: Numbers) -> Float[Tensor, "n model"]:
        """The stream behind attention where one head carries something else."""
        at = f"L{layer:02d}"
        carried = self._carried(layer, member, position, row) - self.base[f"{at}.z"][row, position, member]
        out = self.model.layer(layer).out
        middle = self.base[f"{at}.resid_mid"][row, position]
        for head in member.unique().tolist():  # type: ignore[no-untyped-call]
            here = member == head
            middle[here] += carried[here] @ out[head]
        return middle

    def _carried(self, layer: int, member: Numbers, position: Numbers, row: Numbers) -> Float[Tensor, "n dim"]:
        """What each head carries to its position: the source's, or what its query or pattern fetches of the base."""
        at = f"L{layer:02d}"
        if self.kind == "z":
            return self.source[f"{at}.z"][row, position, member]
        values = self.base[f"{at}.values"][row, member]
        if self.kind == "pattern":
            pattern = self.source[f"{at}.pattern"][row, member, position]
        else:
            query = self.source[f"{at}.q"][row, position, member]
            scores = torch.einsum("nd,nkd->nk", query, self.base[f"{at}.keys"][row, member])
            attention, key = self.model.decoder.blocks[layer].attention, torch.arange(scores.shape[1])
            scores = capped(scores * attention.scale, attention.cap)
            hidden = key > position[:, None]
            if attention.window is not None:
                hidden |= key <= position[:, None] - attention.window
            pattern = scores.masked_fill(hidden.to(scores.device), -torch.inf).softmax(-1)
        return torch.einsum("nk,nkd->nd", pattern, values)

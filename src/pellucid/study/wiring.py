"""The wiring of a model: who writes to the residual stream, who reads from it, and which of them are joined by an edge.

Writers are the embedding (`input`), heads (`a0.h1`) and MLPs (`m0`); readers are queries, keys and values of heads
(`a2.h3<q>`), MLPs and `logits`. Names are those of the MIB benchmark (arXiv 2504.13151): `a0.h1->a2.h3<q>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from pellucid.base.errors import PellucidError, closest
from pellucid.family import needs
from pellucid.family.blocks import Decoder


@dataclass(frozen=True)
class Wiring:
    """Writers and readers of a model of `layers` × `heads`, in order of execution."""

    layers: int
    heads: int

    @staticmethod
    def of(decoder: Decoder) -> Wiring:
        """The wiring of a subject. Raises `PellucidError` for one whose heads do not each read for themselves."""
        needs.refuse(decoder, "a graph of edges", "groups", "rotary", "head norms", "norms behind", "parallel")
        return Wiring(decoder.layers, decoder.sizes.head)

    @cached_property
    def writers(self) -> tuple[str, ...]:
        """The names of all that write."""
        names = ["input"]
        for layer in range(self.layers):
            names += [f"a{layer}.h{head}" for head in range(self.heads)] + [f"m{layer}"]
        return tuple(names)

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """The names of all that read: per layer queries, keys, values, then the MLP; at the end the logits."""
        names: list[str] = []
        for layer in range(self.layers):
            names += [f"a{layer}.h{head}<{part}>" for part in "qkv" for head in range(self.heads)] + [f"m{layer}"]
        return (*names, "logits")

    def heads_at(self, layer: int) -> slice:
        """The writers that are the heads of `layer`."""
        start = 1 + layer * (self.heads + 1)
        return slice(start, start + self.heads)

    def mlp_at(self, layer: int) -> int:
        """The writer that is the MLP of `layer`."""
        return (layer + 1) * (self.heads + 1)

    def reads_at(self, layer: int, part: str) -> slice:
        """The readers that are queries, keys or values (`q`, `k`, `v`) of `layer`, or its MLP (`mlp`)."""
        start = layer * (3 * self.heads + 1)
        if part == "mlp":
            return slice(start + 3 * self.heads, start + 3 * self.heads + 1)
        first = start + "qkv".index(part) * self.heads
        return slice(first, first + self.heads)

    def before(self, layer: int, part: str) -> int:
        """How many writers come before the readers `part` of `layer`."""
        return self.mlp_at(layer) if part == "mlp" else 1 + layer * (self.heads + 1)

    @cached_property
    def real(self) -> Bool[Tensor, "writer reader"]:
        """Which pairs are edges."""
        mask = torch.zeros(len(self.writers), len(self.readers), dtype=torch.bool)
        for layer in range(self.layers):
            for part in ("q", "k", "v", "mlp"):
                mask[: self.before(layer, part), self.reads_at(layer, part)] = True
        mask[:, -1] = True
        return mask

    def edge(self, name: str) -> tuple[int, int]:
        """The numbers of an edge's writer and reader. Raises `PellucidError` naming near misses."""
        writer, _, reader = name.partition("->")
        for known, asked in ((self.writers, writer), (self.readers, reader)):
            if asked not in known:
                raise PellucidError(
                    f"{name!r} is no edge of this model: there is no {asked!r}{closest(asked, list(known))}"
                )
        at = self.writers.index(writer), self.readers.index(reader)
        if not self.real[at]:
            raise PellucidError(f"{name!r} is no edge of this model: {reader} reads before {writer} writes")
        return at

    def name(self, writer: int, reader: int) -> str:
        """The name of an edge."""
        return f"{self.writers[writer]}->{self.readers[reader]}"

    def address(self, end: str) -> str:
        """An end of an edge (`a2.h3<q>`, `m0`, `input`) as addresses name it: `L02.H03 query`, `L00.MLP`, `EMB`."""
        name, _, part = end.partition("<")
        read = {"q>": " query", "k>": " key", "v>": " value"}.get(part, "")
        if name.startswith("a"):
            layer, head = (int(number[1:]) for number in name.split("."))
            return f"L{layer:02d}.H{head:02d}{read}"
        return f"L{int(name[1:]):02d}.MLP" if name.startswith("m") else {"input": "EMB", "logits": "logits"}[name]

    def told(self, writer: int, reader: int) -> dict[str, Any]:
        """An edge by its name, and its ends as addresses name them."""
        ends = self.address(self.writers[writer]), self.address(self.readers[reader])
        return {"edge": self.name(writer, reader), "from": ends[0], "to": ends[1]}

    @cached_property
    def writer_of(self) -> tuple[int, ...]:
        """For each reader the writer that says what comes of it; −1 for the logits."""
        found: list[int] = []
        for layer in range(self.layers):
            heads = range(self.heads_at(layer).start, self.heads_at(layer).stop)
            found += [*heads, *heads, *heads, self.mlp_at(layer)]
        return (*found, -1)

    def connected(self, edges: Bool[Tensor, "writer reader"]) -> Bool[Tensor, "writer reader"]:
        """`edges` without those that no path of the others leads to from the input, or on to the logits."""
        kept = edges & self.real
        owner = torch.tensor(self.writer_of[:-1])
        while True:
            hears = torch.zeros(len(self.writers), dtype=torch.bool)
            hears[owner[kept[:, :-1].any(0)]] = True
            hears[0] = True
            says = kept.any(1)
            alive = hears & says
            reads = torch.cat([alive[owner], torch.tensor([True])])
            smaller = kept & alive[:, None] & reads[None]
            if bool((smaller == kept).all()):
                return kept
            kept = smaller

"""The wiring of a model: who writes to the residual stream, who reads from it, and which of them are joined by an edge.

Writers are the embedding (`input`), heads (`a0.h1`) and MLPs (`m0`); readers are queries, keys and values of heads
(`a2.h3<q>`), MLPs and `logits`. Names are those of the MIB benchmark (arXiv 2504.13151): `a0.h1->a2.h3<q>`. Where
several heads share keys and values, these are read once for all heads of a group: `a2.g1<k>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from pellucid.base.errors import PellucidError, closest
from pellucid.family.blocks import Decoder


@dataclass(frozen=True)
class Wiring:
    """Writers and readers of a model of `layers` × `heads`, in order of execution.

    `shared` is how many groups of heads share keys and values, None where each head has its own; in `parallel` an MLP
    reads what its layer's heads read.
    """

    layers: int
    heads: int
    shared: int | None = None
    parallel: bool = False

    @staticmethod
    def of(decoder: Decoder) -> Wiring:
        """The wiring of a subject."""
        groups = decoder.sizes.group if decoder.grouped else None
        return Wiring(decoder.layers, decoder.sizes.head, groups, decoder.blocks[0].parallel)

    @property
    def groups(self) -> int:
        """How many keys and values a layer has."""
        return self.shared or self.heads

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
            names += [f"a{layer}.h{head}<q>" for head in range(self.heads)]
            own = "g" if self.shared else "h"
            names += [f"a{layer}.{own}{number}<{part}>" for part in "kv" for number in range(self.groups)]
            names.append(f"m{layer}")
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
        sizes = {"q": self.heads, "k": self.groups, "v": self.groups, "mlp": 1}
        first = layer * sum(sizes.values())
        for name, size in sizes.items():
            if name == part:
                break
            first += size
        return slice(first, first + sizes[part])

    def before(self, layer: int, part: str) -> int:
        """How many writers come before the readers `part` of `layer`."""
        late = part == "mlp" and not self.parallel
        return self.mlp_at(layer) if late else 1 + layer * (self.heads + 1)

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
        """The numbers of an edge's writer and reader; a head's shared key or value is that of its group.

        Raises `PellucidError` naming near misses.
        """
        writer, _, reader = name.partition("->")
        reader = self._of_group.get(reader, reader)
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

    @cached_property
    def _of_group(self) -> dict[str, str]:
        """By the key or value of a head, as `a2.h3<k>`, the shared one: `a2.g1<k>`."""
        size = self.heads // self.groups
        heads = [(layer, head) for layer in range(self.layers) for head in range(self.heads if self.shared else 0)]
        return {f"a{n}.h{head}<{part}>": f"a{n}.g{head // size}<{part}>" for n, head in heads for part in "kv"}

    def by_heads(self, writer: int, reader: int) -> list[str]:
        """The names of an edge where every head has a key and a value of its own."""
        end = self.readers[reader]
        own = [head for head, group in self._of_group.items() if group == end] or [end]
        return [f"{self.writers[writer]}->{name}" for name in own]

    def address(self, end: str) -> str:
        """An end of an edge (`a2.h3<q>`, `m0`, `input`) as addresses name it: `L02.H03 query`, `L00.MLP`, `EMB`."""
        name, _, part = end.partition("<")
        read = {"q>": " query", "k>": " key", "v>": " value"}.get(part, "")
        if name.startswith("a"):
            layer, _, own = name.partition(".")
            return f"L{int(layer[1:]):02d}.{own[0].upper()}{int(own[1:]):02d}{read}"
        return f"L{int(name[1:]):02d}.MLP" if name.startswith("m") else {"input": "EMB", "logits": "logits"}[name]

    def told(self, writer: int, reader: int) -> dict[str, Any]:
        """An edge by its name, and its ends as addresses name them."""
        ends = self.address(self.writers[writer]), self.address(self.readers[reader])
        return {"edge": self.name(writer, reader), "from": ends[0], "to": ends[1]}

    @cached_property
    def serves(self) -> Bool[Tensor, "writer reader"]:
        """Which writers say what comes of a reader: a head, or all heads of a group; nobody of the logits."""
        found = torch.zeros(len(self.writers), len(self.readers), dtype=torch.bool)
        each = torch.arange(self.heads)
        for layer in range(self.layers):
            heads = self.heads_at(layer).start + each
            found[heads, self.reads_at(layer, "q").start + each] = True
            for part in "kv":
                group = each // (self.heads // self.groups)
                found[heads, self.reads_at(layer, part).start + group] = True
            found[self.mlp_at(layer), self.reads_at(layer, "mlp")] = True
        return found

    def connected(self, edges: Bool[Tensor, "writer reader"]) -> Bool[Tensor, "writer reader"]:
        """`edges` without those that no path of the others leads to from the input, or on to the logits."""
        kept = edges & self.real
        while True:
            hears = (self.serves & kept.any(0)).any(1)
            hears[0] = True
            says = kept.any(1)
            alive = hears & says
            reads = (self.serves & alive[:, None]).any(0)
            reads[-1] = True
            smaller = kept & alive[:, None] & reads[None]
            if bool((smaller == kept).all()):
                return kept
            kept = smaller

"""Addresses: the stable names of the pieces of a subject.

`L05.H01.QK` (where a head looks), `L05.H01.OV` (what it moves), `L03.N1024.IN` (when a neuron fires),
`L03.N1024.OUT` (what it then writes), `L05.ATTN.B`, `L05.MLP.B`, `L05.LN1`, `L05.LN2`, `LNF`, `EMB.TOK`, `EMB.POS`,
`UNEMB`. Where heads share keys and values, those are `L05.G01.K` and `L05.G01.V`; norms of queries and keys are
`L05.QN` and `L05.KN`, those behind attention and MLP `L05.ATTN.LN` and `L05.MLP.LN`. A pattern may put `*` for a number
(`L03.N*.IN`, `L*.H*.QK`) and means all addresses that it fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pellucid.base.errors import PellucidError, closest

PartKind = (
    Literal["QK", "OV", "IN", "OUT", "ATTN.B", "MLP.B", "LN1", "LN2", "LNF", "EMB.TOK", "EMB.POS", "UNEMB"]
    | Literal["K", "V", "QN", "KN", "ATTN.LN", "MLP.LN"]
)
CODE: tuple[PartKind, ...] = ("QK", "IN", "ATTN.B", "MLP.B", "LN1", "LN2", "LNF", "K", "QN", "KN", "ATTN.LN", "MLP.LN")
DATA: tuple[PartKind, ...] = ("EMB.TOK", "EMB.POS", "OV", "OUT", "UNEMB", "V")

_HEAD = re.compile(r"L(\d{2,9})\.H(\d{2,9})\.(QK|OV)", re.ASCII)
_GROUP = re.compile(r"L(\d{2,9})\.G(\d{2,9})\.(K|V)", re.ASCII)
_NEURON = re.compile(r"L(\d{2,9})\.N(\d{4,9})\.(IN|OUT)", re.ASCII)
_LAYER = re.compile(r"L(\d{2,9})\.(ATTN\.B|MLP\.B|LN1|LN2|QN|KN|ATTN\.LN|MLP\.LN)", re.ASCII)
_GLOBAL: tuple[PartKind, ...] = ("EMB.TOK", "EMB.POS", "LNF", "UNEMB")
_ORDER: tuple[tuple[PartKind, ...], ...] = (
    *(("EMB.TOK",), ("EMB.POS",), ("LN1",), ("QN",), ("KN",), ("K", "V"), ("QK", "OV"), ("ATTN.B",), ("ATTN.LN",)),
    *(("LN2",), ("IN",), ("OUT",), ("MLP.B",), ("MLP.LN",), ("LNF",), ("UNEMB",)),
)
_STAGE: dict[PartKind, int] = {kind: stage for stage, kinds in enumerate(_ORDER) for kind in kinds}
_FORMS = "L05.H01.QK, L05.H01.OV, L03.N1024.IN, L03.N1024.OUT, L05.ATTN.B, L05.MLP.B, L05.LN1, L05.LN2, LNF, EMB.TOK"


@dataclass(frozen=True)
class Address:
    """One piece of a subject. `layer` and `index` (of head or neuron) are -1 where there is none."""

    kind: PartKind
    layer: int = -1
    index: int = -1

    @staticmethod
    def parse(text: str) -> Address:
        """Read an address as it is printed. Raises `PellucidError` for anything else."""
        for pattern in (_HEAD, _NEURON, _GROUP):
            if found := pattern.fullmatch(text):
                address = Address(found[3], int(found[1]), int(found[2]))  # type: ignore[arg-type]
                break
        else:
            if found := _LAYER.fullmatch(text):
                address = Address(found[2], int(found[1]))  # type: ignore[arg-type]
            elif text in _GLOBAL:
                address = Address(text)
            else:
                raise PellucidError(f"{text!r} is not an address; addresses look like {_FORMS}")
        if str(address) != text:
            raise PellucidError(f"{text!r} is not an address; write it {address}")
        return address

    def __str__(self) -> str:
        match self.kind:
            case "QK" | "OV":
                return f"L{self.layer:02d}.H{self.index:02d}.{self.kind}"
            case "IN" | "OUT":
                return f"L{self.layer:02d}.N{self.index:04d}.{self.kind}"
            case "K" | "V":
                return f"L{self.layer:02d}.G{self.index:02d}.{self.kind}"
            case "ATTN.B" | "MLP.B" | "LN1" | "LN2" | "QN" | "KN" | "ATTN.LN" | "MLP.LN":
                return f"L{self.layer:02d}.{self.kind}"
            case _:
                return self.kind

    def __lt__(self, other: Address) -> bool:
        return self._order < other._order

    @cached_property
    def _order(self) -> tuple[int, int, int, int]:
        """Execution order: embeddings, then per layer norm, heads, bias, norm, neurons, bias, then the end."""
        layer = {"EMB.TOK": -1, "EMB.POS": -1, "LNF": 1 << 30, "UNEMB": 1 << 30}.get(self.kind, self.layer)
        return layer, _STAGE[self.kind], self.index, int(self.kind in ("OV", "V"))

    @property
    def is_code(self) -> bool:
        """Whether the address belongs to the code (QK, IN, biases, norms) rather than the data of the model."""
        return self.kind in CODE


@dataclass(frozen=True)
class Shape:
    """What fixes the set of addresses of a subject.

    `groups` are the heads of keys and values where several heads of queries share them, else 0; `once` lists the kinds
    that there are once, or once a layer.
    """

    layers: int
    heads: int
    neurons: int
    tied: bool
    groups: int = 0
    once: frozenset[PartKind] = frozenset({"EMB.TOK", "EMB.POS", "LN1", "ATTN.B", "LN2", "MLP.B", "LNF"})

    def addresses(self) -> Iterator[Address]:
        """All addresses, in order of execution."""
        for kinds in _ORDER[:2]:
            yield from self._once(kinds, -1)
        for layer in range(self.layers):
            for kinds in _ORDER[2:-2]:
                yield from self._many(kinds, layer) or self._once(kinds, layer)
        yield Address("LNF")
        if not self.tied:
            yield Address("UNEMB")

    def __contains__(self, address: Address) -> bool:
        match address.kind:
            case "QK" | "OV":
                return address.layer < self.layers and address.index < self.heads
            case "IN" | "OUT":
                return address.layer < self.layers and address.index < self.neurons
            case "K" | "V":
                return address.layer < self.layers and address.index < self.groups
            case "UNEMB":
                return not self.tied
            case _:
                return address.layer < self.layers and address.kind in self.once

    def _many(self, kinds: tuple[PartKind, ...], layer: int) -> list[Address]:
        """The addresses of `kinds` in `layer` that have a number each; none where those of a layer have none."""
        sizes: dict[PartKind, int] = {"K": self.groups, "QK": self.heads, "IN": self.neurons, "OUT": self.neurons}
        return [Address(kind, layer, index) for index in range(sizes.get(kinds[0], 0)) for kind in kinds]

    def _once(self, kinds: tuple[PartKind, ...], layer: int) -> list[Address]:
        return [Address(kind, layer) for kind in kinds if kind in self.once]

    def match(self, pattern: str) -> list[Address]:
        """The addresses that `pattern` (an address, `*` for any number, or a prefix such as `L03` or `L03.H01`) fits.

        Raises `PellucidError` naming near misses where there is none.
        """
        if "*" not in pattern:
            try:
                address = Address.parse(pattern)
            except PellucidError:
                pass
            else:
                if address in self:
                    return [address]
        if not re.fullmatch(r"[A-Z0-9.*]+", pattern):
            raise PellucidError(f"{pattern!r} is not an address; addresses look like {_FORMS}")
        regex = re.compile(re.escape(pattern).replace(r"\*", r"\d+") + r"(\..+)?")
        found = [a for a in self.addresses() if regex.fullmatch(str(a))]
        if not found:
            near = closest(pattern, [str(a) for a in self.addresses()])
            raise PellucidError(f"{pattern!r} names no part of this subject{near or f'; addresses look like {_FORMS}'}")
        return found

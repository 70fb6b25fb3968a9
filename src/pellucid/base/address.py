"""Addresses: the stable names of the pieces of a subject.

`L05.H01.QK` (where a head looks), `L05.H01.OV` (what it moves), `L03.N1024.IN` (when a neuron fires),
`L03.N1024.OUT` (what it then writes), `L05.ATTN.B`, `L05.MLP.B`, `L05.LN1`, `L05.LN2`, `LNF`, `EMB.TOK`, `EMB.POS`,
`UNEMB`. A pattern may put `*` for a number (`L03.N*.IN`, `L*.H*.QK`) and means all addresses that it fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pellucid.base.errors import PellucidError, closest

Kind = Literal["QK", "OV", "IN", "OUT", "ATTN.B", "MLP.B", "LN1", "LN2", "LNF", "EMB.TOK", "EMB.POS", "UNEMB"]
CODE: tuple[Kind, ...] = ("QK", "IN", "ATTN.B", "MLP.B", "LN1", "LN2", "LNF")
DATA: tuple[Kind, ...] = ("EMB.TOK", "EMB.POS", "OV", "OUT", "UNEMB")

_HEAD = re.compile(r"L(\d{2,9})\.H(\d{2,9})\.(QK|OV)", re.ASCII)
_NEURON = re.compile(r"L(\d{2,9})\.N(\d{4,9})\.(IN|OUT)", re.ASCII)
_LAYER = re.compile(r"L(\d{2,9})\.(ATTN\.B|MLP\.B|LN1|LN2)", re.ASCII)
_GLOBAL: tuple[Kind, ...] = ("EMB.TOK", "EMB.POS", "LNF", "UNEMB")
_NEURON_SIDES: tuple[Kind, ...] = ("IN", "OUT")
_FORMS = "L05.H01.QK, L05.H01.OV, L03.N1024.IN, L03.N1024.OUT, L05.ATTN.B, L05.MLP.B, L05.LN1, L05.LN2, LNF, EMB.TOK"


@dataclass(frozen=True)
class Address:
    """One piece of a subject. `layer` and `index` (of head or neuron) are -1 where there is none."""

    kind: Kind
    layer: int = -1
    index: int = -1

    @staticmethod
    def parse(text: str) -> Address:
        """Read an address as it is printed. Raises `PellucidError` for anything else."""
        for pattern in (_HEAD, _NEURON):
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
            case "ATTN.B" | "MLP.B" | "LN1" | "LN2":
                return f"L{self.layer:02d}.{self.kind}"
            case _:
                return self.kind

    def __lt__(self, other: Address) -> bool:
        return self._order < other._order

    @cached_property
    def _order(self) -> tuple[int, int, int, int]:
        """Execution order: embeddings, then per layer norm, heads, bias, norm, neurons, bias, then the end."""
        stage = {"EMB.TOK": 0, "EMB.POS": 1, "LN1": 2, "QK": 3, "OV": 3, "ATTN.B": 4, "LN2": 5, "IN": 6, "OUT": 7}
        stage |= {"MLP.B": 8, "LNF": 9, "UNEMB": 10}
        layer = {"EMB.TOK": -1, "EMB.POS": -1, "LNF": 1 << 30, "UNEMB": 1 << 30}.get(self.kind, self.layer)
        return layer, stage[self.kind], self.index, int(self.kind == "OV")

    @property
    def is_code(self) -> bool:
        """Whether the address belongs to the code (QK, IN, biases, norms) rather than the data of the model."""
        return self.kind in CODE


@dataclass(frozen=True)
class Shape:
    """What fixes the set of addresses of a GPT-2-like subject."""

    layers: int
    heads: int
    neurons: int
    tied: bool

    def addresses(self) -> Iterator[Address]:
        """All addresses, in order of execution."""
        yield Address("EMB.TOK")
        yield Address("EMB.POS")
        for layer in range(self.layers):
            yield Address("LN1", layer)
            for head in range(self.heads):
                yield Address("QK", layer, head)
                yield Address("OV", layer, head)
            yield Address("ATTN.B", layer)
            yield Address("LN2", layer)
            for kind in _NEURON_SIDES:
                for neuron in range(self.neurons):
                    yield Address(kind, layer, neuron)
            yield Address("MLP.B", layer)
        yield Address("LNF")
        if not self.tied:
            yield Address("UNEMB")

    def __contains__(self, address: Address) -> bool:
        match address.kind:
            case "QK" | "OV":
                return address.layer < self.layers and address.index < self.heads
            case "IN" | "OUT":
                return address.layer < self.layers and address.index < self.neurons
            case "UNEMB":
                return not self.tied
            case _:
                return address.layer < self.layers

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

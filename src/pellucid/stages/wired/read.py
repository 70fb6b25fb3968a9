"""From the weights of a subject to what its parts read and write, coordinate by coordinate; nothing is left out.

Weights are those of format 2, under the names of addresses (`family/canonical.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from pellucid.base.address import Address
from pellucid.family.blocks import Decoder
from pellucid.listing.wiring import Terms, Wires
from pellucid.program.wires import ONE, Wave

PERIODS = range(2, 1025)
"""Periods of waves, in positions, that are looked for in the position embedding."""
_SAME = 1e-6
"""The largest difference, as a share of a wave's height, between a column of the position embedding and the wave."""
_PHASES = {"sine": 0.0, "cosine": 0.25}

Weights = Mapping[str, Tensor]


def plain_norms(weights: Weights) -> bool:
    """Whether no norm has a gain or a bias."""
    return all(bool((weights[name] == float(not name.endswith(".bias"))).all()) for name in weights if _is_norm(name))


def weights_left(weights: Weights) -> int:
    """How many weights are not zero, apart from norms and positions."""
    return sum(int((w != 0).sum()) for name, w in weights.items() if not _is_norm(name) and name != "EMB.POS")


def _is_norm(name: str) -> bool:
    return name.removesuffix(".bias").endswith((".LN1", ".LN2", "LNF"))


def find_waves(table: Float[Tensor, "position model"]) -> dict[int, tuple[str, int, float]] | None:
    """The waves that the columns of a position embedding are, by coordinate; None where one is anything else."""
    columns = table.float().numpy()
    found: dict[int, tuple[str, int, float]] = {}
    for coordinate in np.flatnonzero(np.abs(columns).max(0)):
        wave = _wave(columns[:, coordinate])
        if wave is None:
            return None
        found[int(coordinate)] = wave
    return found


def _wave(column: np.ndarray) -> tuple[str, int, float] | None:
    for period in PERIODS:
        for form, phase in _PHASES.items():
            unit = Wave(phase, float(period), 1.0)(len(column)).astype(float)
            height = shortest(float(column @ unit) / max(float(unit @ unit), 1e-9))
            if height and np.abs(Wave(phase, float(period), height)(len(column)) - column).max() <= _SAME * abs(height):
                return form, period, height
    return None


def shortest(value: float) -> float:
    """The number of fewest digits that float32 cannot tell from `value`."""
    return float(np.format_float_positional(np.float32(value), unique=True)) if value else 0.0


@dataclass(frozen=True)
class Reader:
    """Reads the wires of parts off the weights; coordinates are what their `names` say, times their `signs`."""

    decoder: Decoder
    weights: Weights
    names: Sequence[str]
    signs: Sequence[int]
    waves: Mapping[int, tuple[str, int, float]]

    def parts(self) -> Iterator[tuple[Address, Wires]]:
        """Every part but the tables of tokens, in order of execution."""
        for address in self.decoder.addresses.addresses():
            if address.kind not in ("EMB.TOK", "UNEMB"):
                yield address, self.wires(address)

    def wires(self, address: Address) -> Wires:
        """What one part reads and writes."""
        at, index = f"L{address.layer:02d}", address.index
        match address.kind:
            case "QK":
                return Wires(pairs=tuple(self._compared(address)))
            case "OV":
                return Wires(pairs=tuple(self._moved(address)))
            case "IN":
                bias = shortest(float(self.weights[f"{at}.N*.IN.bias"][index]))
                return Wires(terms=self.terms(self.weights[f"{at}.N*.IN"][:, index]), bias=bias)
            case "OUT":
                return Wires(terms=self.terms(self.weights[f"{at}.N*.OUT"][index]))
            case "ATTN.B" | "MLP.B":
                return Wires(terms=self.terms(self.weights[str(address)]))
            case "EMB.POS":
                return Wires(waves={self.names[c]: (form, float(p), h) for c, (form, p, h) in self.waves.items()})
            case _:
                return Wires()

    def terms(self, row: Float[Tensor, " model"], one: float = 0.0) -> Terms:
        """The coordinates that a row of weights is not zero for, the largest first, and `one`."""
        found = {self.names[c]: self.signs[c] * shortest(float(row[c])) for c in row.nonzero()[:, 0].tolist()}
        ordered = dict(sorted(found.items(), key=lambda entry: -abs(entry[1])))
        return ordered | ({ONE: shortest(one)} if one else {})

    def _columns(self, address: Address, letter: str) -> tuple[Tensor, Tensor]:
        """Weights and biases of a head's queries (Q), keys (K) or values (V)."""
        name = f"L{address.layer:02d}.H*.{letter}"
        return self.weights[name][:, address.index].float(), self.weights[f"{name}.bias"][address.index].float()

    def _compared(self, address: Address) -> Iterator[tuple[Terms, Terms]]:
        """Pairs of what a head seeks and what a key offers; a key's bias moves all scores of a query alike."""
        scale = self.decoder.blocks[address.layer].attention.scale
        (queries, ones), (keys, _) = self._columns(address, "Q"), self._columns(address, "K")
        for dim in range(self.decoder.sizes.dim):
            seeks = self.terms(queries[:, dim] * scale, float(ones[dim] * scale))
            offers = self.terms(keys[:, dim])
            if seeks and offers:
                yield seeks, offers

    def _moved(self, address: Address) -> Iterator[tuple[Terms, Terms]]:
        """Pairs of what a head takes and what it gives."""
        values, ones = self._columns(address, "V")
        rows = self.weights[f"L{address.layer:02d}.H*.O"][address.index].float()
        for dim in range(self.decoder.sizes.dim):
            takes = self.terms(values[:, dim], float(ones[dim]))
            gives = self.terms(rows[dim])
            if takes and gives:
                yield takes, gives


def turned(levels: Mapping[float, Sequence[int]], sign: int) -> dict[float, Sequence[int]]:
    """Levels times `sign`, the highest first."""
    return dict(sorted(((sign * level, tokens) for level, tokens in levels.items()), reverse=True))


def kinds_in(table: Float[Tensor, "token model"]) -> dict[int, dict[float, list[int]]]:
    """For each coordinate that tokens write, the tokens by level, the highest first."""
    found: dict[int, dict[float, list[int]]] = {}
    for coordinate in (table != 0).any(0).nonzero()[:, 0].tolist():
        levels: dict[float, list[int]] = {}
        for token in table[:, coordinate].nonzero()[:, 0].tolist():
            levels.setdefault(shortest(float(table[token, coordinate])), []).append(token)
        found[coordinate] = dict(sorted(levels.items(), reverse=True))
    return found

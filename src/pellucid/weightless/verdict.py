"""What was reached: the four numbers of a program, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.weightless.measure import Hits, Match
from pellucid.weightless.mechanism import Interchange

TRAINED, LONGER, PROBES, MECHANISM, EFFECTIVE = 0.99, 0.95, 0.95, 0.95, 200
SHARE_OF_PARAMETERS, MOST_NUMBERS = 0.05, 400
SOLVES = 0.9
"""Where the model itself solves fewer rows than this, positions are compared in place of rows."""


@dataclass(frozen=True)
class Figures:
    """The four numbers of a program, and what they were measured on.

    `enumerated` bands were measured on every distinct row, those fitted on included. `sampled` says that the rows were
    drawn from the vocabulary. `cautions` say what could not be computed.
    """

    name: str
    trained: str
    match: Mapping[str, Match]
    accuracy: Mapping[str, float]
    probes: Match | None
    mechanism: Sequence[Interchange]
    numbers: int
    parameters: int
    lines: int
    seconds: float
    summary: str
    enumerated: Sequence[str] = ()
    sampled: bool = False
    cautions: Sequence[str] = ()

    @property
    def budget(self) -> int:
        """How many numbers a program may hold."""
        return min(MOST_NUMBERS, int(SHARE_OF_PARAMETERS * self.parameters))

    @property
    def misses(self) -> list[str]:
        """Why the model does not count as decompiled: one clause for each number that falls short."""
        found = []
        for band, match in self.match.items():
            share, wanted, kind = self._band(band, match)
            if share.value is None or share.value < wanted:
                found.append(f"{_percent(share)} of {kind} in band {band}, wanted {100 * wanted:.0f} %")
        if self.probes is not None and (self.probes.clear.value or 0.0) < PROBES:
            found.append(f"probe match {_percent(self.probes.clear)}")
        for entry in self.mechanism:
            if entry.agree.n < EFFECTIVE:
                found.append(f"only {entry.agree.n} interventions on {entry.value} changed anything")
            elif (entry.agree.value or 0.0) < MECHANISM:
                found.append(f"{entry.value} agrees in {_percent(entry.agree)} of interventions")
        if not self.mechanism:
            found.append("no value to intervene on")
        if self.numbers > self.budget:
            found.append(f"{self.numbers} numbers, budget {self.budget}")
        return found

    @property
    def verdict(self) -> str:
        """`decompiled`; `behavioural` where only the mechanism is missing; else `partial`."""
        if not self.misses:
            return "decompiled"
        behaves = [miss for miss in self.misses if "interventions" in miss or "intervene" in miss] == self.misses
        return "behavioural" if behaves else "partial"

    def _band(self, band: str, match: Match) -> tuple[Hits, float, str]:
        if band == self.trained:
            return match.rows, TRAINED, "rows"
        weak = self.accuracy.get(band, 1.0) < SOLVES
        return (match.positions, LONGER, "positions") if weak else (match.rows, LONGER, "rows")

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON; what was not measured is null."""
        bands = {band: {"rows": _share(m.rows), "positions": _share(m.positions)} for band, m in self.match.items()}
        values = [{"name": e.value, "addresses": e.addresses.split(), **_share(e.agree)} for e in self.mechanism]
        return {
            "model": self.name,
            "verdict": self.verdict,
            "misses": self.misses,
            "match": bands,
            "trained": self.trained,
            "probes": None if self.probes is None else _share(self.probes.clear),
            "mechanism": values,
            "numbers": self.numbers,
            "budget": self.budget,
            "parameters": self.parameters,
            "lines": self.lines,
            "seconds": round(self.seconds, 1),
            "summary": self.summary,
            "enumerated": list(self.enumerated),
            "sampled": self.sampled,
            "cautions": list(self.cautions),
        }


def _share(share: Hits) -> dict[str, float | int | None]:
    return {"value": share.value, "n": share.n}


def _percent(share: Hits) -> str:
    return "–" if share.value is None else f"{100 * share.value:.1f} %"

"""The contexts where a program strays furthest from its subject, kept while measuring."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from heapq import heappush, heappushpop


@dataclass(frozen=True)
class Divergence:
    """A context, the word that each of the two says next, and KL(subject‖program) of the next token, nats.

    Where words were not measured the two are tokens.
    """

    domain: str
    document: str
    before: str
    subject: str
    program: str
    kl: float

    def to_dict(self) -> dict[str, str | float]:
        """As it stands in reports."""
        return asdict(self)


@dataclass
class Worst:
    """The `most` worst divergences seen so far: those that differ in their word first, then those of largest KL."""

    most: int = 20
    _heap: list[tuple[bool, float, int, Divergence]] = field(default_factory=list)
    _seen: int = 0

    def admits(self, differs: bool, kl: float) -> bool:
        """Whether such a divergence would be kept; those that agree in every digit are not worth a line."""
        return kl > 0 and (len(self._heap) < self.most or (differs, kl) > self._heap[0][:2])

    def add(self, divergence: Divergence) -> None:
        """Keep `divergence`, for the least bad one if there are too many."""
        self._seen += 1
        entry = (divergence.subject != divergence.program, divergence.kl, -self._seen, divergence)
        if len(self._heap) < self.most:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def ranked(self) -> tuple[Divergence, ...]:
        """The worst first."""
        return tuple(divergence for *_, divergence in sorted(self._heap, reverse=True, key=lambda entry: entry[:3]))

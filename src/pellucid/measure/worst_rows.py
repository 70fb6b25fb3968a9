"""The contexts where a program says something else than its subject, kept while measuring."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace

ALIKE = 3
"""Divergences listed with the same word on the same side, as long as there are others."""


@dataclass(frozen=True)
class Divergence:
    """A context, the word that each of the two says next, and KL(subject‖program) of the next token, nats.

    Where words were not measured the two are tokens. `times` is how many contexts were met with these two words.
    """

    domain: str
    document: str
    before: str
    subject: str
    program: str
    kl: float
    times: int = 1

    def to_dict(self) -> dict[str, str | float]:
        """As it stands in reports."""
        return asdict(self)


@dataclass
class Worst:
    """The worst divergences of every kind: the same two words, said where the KL is largest.

    Contexts at which both say the same are none, however far apart the two are otherwise.
    """

    most: int = 20
    _kinds: dict[tuple[str, str], Divergence] = field(default_factory=dict)
    _times: Counter[tuple[str, str]] = field(default_factory=Counter)

    def admits(self, subject: str, program: str, kl: float) -> bool:
        """Count a context with these words; whether it is the worst of its kind so far, to be handed to `add`."""
        if subject == program:
            return False
        kind = (subject, program)
        self._times[kind] += 1
        return kind not in self._kinds or kl > self._kinds[kind].kl

    def add(self, divergence: Divergence) -> None:
        """Keep `divergence` as the worst of its kind."""
        self._kinds[divergence.subject, divergence.program] = divergence

    def ranked(self) -> tuple[Divergence, ...]:
        """The `most` worst, one of a kind, in descending KL; words that were listed `ALIKE` times wait for others."""
        by_kl = sorted(self._kinds.values(), key=lambda found: -found.kl)
        told: Counter[tuple[str, str]] = Counter()
        first: list[Divergence] = []
        late: list[Divergence] = []
        for found in by_kl:
            sides = ("subject", found.subject), ("program", found.program)
            fresh = all(told[side] < ALIKE for side in sides)
            (first if fresh else late).append(found)
            told.update(sides if fresh else ())
        chosen = sorted((first + late)[: self.most], key=lambda found: -found.kl)
        return tuple(replace(found, times=self._times[found.subject, found.program]) for found in chosen)

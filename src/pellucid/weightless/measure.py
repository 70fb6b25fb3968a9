"""Match and probe match: how often the text of a program says what the model says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pellucid.weightless.runner import Runner
from pellucid.weightless.teacher import Read, same


@dataclass(frozen=True)
class Hits:
    """`hits` of `n`; nothing was measured where `n` is 0."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share, None where nothing was measured."""
        return self.hits / self.n if self.n else None


@dataclass(frozen=True)
class Match:
    """Rows that agree at all scored positions, and positions that agree: all of them, and the clear ones."""

    rows: Hits
    positions: Hits
    clear: Hits


def match(runner: Runner, read: Read) -> Match:
    """Run the program over `read` and compare."""
    said = runner.answers(read.ids, read.scored)
    agree = same(said, read.answer[read.scored], runner.kind)
    whole = np.ones(read.ids.shape, bool)
    whole[read.scored] = agree
    certain = read.clear[read.scored]
    return Match(
        Hits(int(whole.all(1).sum()), len(whole)),
        Hits(int(agree.sum()), len(agree)),
        Hits(int(agree[certain].sum()), int(certain.sum())),
    )

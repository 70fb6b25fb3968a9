"""Which contexts are continued: random lengths, each the same for all rows of a batch that are long enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

SHORTEST = 2
"""A context has a token of the text behind the one that opens a document."""


@dataclass
class Contexts:
    """Deals `contexts` evenly to `rows` rows of text; what one batch is too short for, the next gets."""

    contexts: int
    rows: int
    longest: int
    seed: int
    _read: int = 0
    _dealt: int = 0
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def draw(self, lengths: Int64[np.ndarray, " batch"]) -> Iterator[tuple[int, Int64[np.ndarray, " member"]]]:
        """Pairs of a context's length and the rows of the batch (of `lengths` tokens each) that have so many."""
        self._read += len(lengths)
        for length in SHORTEST + self._rng.permutation(max(0, min(self.longest, lengths.max()) - SHORTEST + 1)):
            missing = -(-self.contexts * self._read // self.rows) - self._dealt
            if missing <= 0:
                return
            members = self._rng.permutation(np.flatnonzero(lengths >= length))[:missing]
            self._dealt += len(members)
            yield int(length), np.sort(members)

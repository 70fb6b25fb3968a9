"""Rotary positions: pairs of coordinates of queries and keys are turned by angles that grow with the position.

RoFormer (Su et al., arXiv 2104.09864). The first half of what turns is paired with the second.
"""

from __future__ import annotations

import math  # for: yarn
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .prelude import Floats


@dataclass(frozen=True)
class Rotary:
    """How fast the pairs turn; what a query and a key say together depends on how far apart they stand."""

    base: float
    dims: int  # coordinates of a head that turn
    factor: float  # how much longer texts are than those that it was trained on  # for: stretched
    low: float  # pairs that turn less often than this in a text of the trained length are slowed  # for: llama3
    high: float  # and those that turn more often are not  # for: llama3
    trained: int  # the longest text that it was trained on first  # for: trained
    amplitude: float  # cosines and sines are multiplied by it  # for: yarn
    fast: float  # pairs that turn more often than this in a text of the trained length are kept  # for: yarn
    slow: float  # and those that turn less often are slowed  # for: yarn
    truncate: bool  # whether the pairs between are counted from a whole one to a whole one  # for: yarn

    @cached_property
    def rates(self) -> Floats:
        """Radians by which each pair turns from one position to the next, [pair]."""
        rates = self.base ** (-np.arange(0, self.dims, 2) / self.dims)  # for: not yarn
        rates = self.base ** (-np.arange(0, self.dims // 2 * 2, 2) / self.dims)  # for: yarn
        rates /= self.factor  # for: linear
        turns = self.trained * rates / (2 * np.pi)  # in a text of the trained length  # for: llama3
        kept = np.clip((turns - self.low) / (self.high - self.low), 0, 1)  # (arXiv 2407.21783)  # for: llama3
        kept = 1 - np.clip((np.arange(len(rates)) - self._first) / (self._last - self._first), 0, 1)  # for: yarn
        rates *= kept + (1 - kept) / self.factor  # for: mixed
        return rates.astype(np.float32)

    @property  # for: yarn
    def _first(self) -> float:
        """The number of the first pair that is not kept whole (arXiv 2309.00071)."""
        first = self._pair(self.fast)
        return max(float(math.floor(first) if self.truncate else first), 0.0)

    @property  # for: yarn
    def _last(self) -> float:
        """The number of the first pair that is slowed whole."""
        last = self._pair(self.slow)
        last = min(float(math.ceil(last) if self.truncate else last), self.dims - 1.0)
        return last + 0.001 if last == self._first else last

    def _pair(self, turns: float) -> float:  # for: yarn
        """The number of the pair that turns so often in a text of the trained length."""
        return self.dims * math.log(self.trained / (2 * math.pi * turns)) / (2 * math.log(self.base))

    def turns(self, past: int, end: int) -> tuple[Floats, Floats]:
        """Cosines and sines of the positions from `past` to `end`, [pos, one, pair]."""
        angles = np.arange(past, end, dtype=np.float32)[:, None, None] * self.rates
        cosines, sines = np.cos(angles), np.sin(angles)
        cosines *= np.float32(self.amplitude)  # for: yarn
        sines *= np.float32(self.amplitude)  # for: yarn
        return cosines, sines


def rotate(x: Floats, turns: tuple[Floats, Floats]) -> None:
    """Turn the first coordinates of each head of `x` [batch, pos, head, dim], in place."""
    cosines, sines = turns
    half = cosines.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    turned = first * cosines - second * sines
    x[..., half : 2 * half] = second * cosines + first * sines
    x[..., :half] = turned

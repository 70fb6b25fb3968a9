"""Effects as shares of a whole; where the whole is near zero there are no shares, and effects stand for themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable

NEAR = 0.1
"""A whole of at most this much of the largest effect is near zero."""
ROUNDING = 1e-5
"""Differences of logits up to this are rounding in float32."""


def divides(whole: float, effects: Iterable[float]) -> bool:
    """Whether `effects` can be told as shares of `whole`: it is finite, and not near zero beside them."""
    largest = max((abs(effect) for effect in effects if math.isfinite(effect)), default=0.0)
    return math.isfinite(whole) and abs(whole) > max(ROUNDING, NEAR * largest)


def finite(value: float | None) -> float | None:
    """`value`, None where it is no finite number: JSON has no other."""
    return None if value is None or not math.isfinite(value) else float(value)

"""How much a search computes, counted in evaluations: the same on a busy machine as on an idle one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Meter:
    """Evaluations so far: one is about one number that is multiplied, compared or sorted once."""

    spent: float = 0.0


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


def spend(evaluations: float | int) -> None:
    """Count evaluations where somebody does."""
    if meter := _METER.get():
        meter.spent += evaluations


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what is computed until the end."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)

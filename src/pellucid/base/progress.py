"""Progress: loops and stages that tell how far they are, as events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from pellucid.base.events import Advanced, Began, Ended, Lasting, Paused, emit

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, and tell how far that is under the name `label`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with _under_way(Lasting(label, total, counted=True)) as stage:
        for item in items:
            yield item
            stage.done += 1
            emit(Advanced(stage))


@contextmanager
def working(label: str, total: int | None = None) -> Iterator[Lasting]:
    """Tell that `label` is under way; of stages within each other the innermost is what is shown."""
    with _under_way(Lasting(label, total)) as stage:
        yield stage


@contextmanager
def waiting() -> Iterator[None]:
    """Tell that nothing is under way meanwhile but waiting for somebody."""
    emit(Paused(True))
    try:
        yield
    finally:
        emit(Paused(False))


@contextmanager
def _under_way(stage: Lasting) -> Iterator[Lasting]:
    emit(Began(stage))
    try:
        yield stage
    finally:
        emit(Ended(stage))

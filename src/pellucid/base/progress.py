"""Progress on standard error: a bar where somebody watches, elsewhere a line each half minute."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pellucid.base.terminal import tell, terminal

T = TypeVar("T")
EVERY = 30.0
"""Seconds between two lines; what takes less says nothing."""


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, and show how far that is under the name `label`.

    If standard error is a terminal as a bar with elapsed and remaining time, else as `working` does.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not sys.stderr.isatty():
        with working(label, total) as stage:
            for item in items:
                yield item
                stage.done += 1
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal(errors=True), transient=True) as bar:
        task = bar.add_task(f"{label:<28}", total=total)
        for item in items:
            yield item
            bar.advance(task)


@dataclass(eq=False)
class Stage:
    """Something that takes time: how much of it is `done`, of how much if that is known."""

    label: str
    total: int | None = None
    done: int = 0
    start: float = field(default_factory=perf_counter)

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return perf_counter() - self.start

    def __str__(self) -> str:
        seconds = self.age
        if not self.total:
            return f"{self.label}: {spell(seconds)} so far"
        left = f", about {spell(seconds / self.done * (self.total - self.done))} left" if self.done else ""
        return f"{self.label}: {self.done:,} of {self.total:,}, {spell(seconds)} so far{left}"


@contextmanager
def working(label: str, total: int | None = None) -> Iterator[Stage]:
    """Say each half minute on standard error, if that is no terminal, that `label` is under way.

    Of stages within each other the innermost speaks that has not just begun.
    """
    stage = Stage(label, total)
    _under_way.append(stage)
    ended = None if _speaking.is_set() or sys.stderr.isatty() else _speak()
    try:
        yield stage
    finally:
        if stage in _under_way:
            _under_way.remove(stage)
        if ended:
            ended.set()
            _speaking.clear()


@contextmanager
def waiting() -> Iterator[None]:
    """Say nothing meanwhile: nothing is under way but waiting for somebody."""
    held = _under_way[:]
    _under_way.clear()
    try:
        yield
    finally:
        _under_way[:] = held


def spell(seconds: float) -> str:
    """A time in words: 40 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


_under_way: list[Stage] = []
_speaking = threading.Event()


def _speak() -> threading.Event:
    """Start the thread that speaks; it ends once the event that is returned is set."""
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(EVERY):
            for stage in [stage for stage in _under_way if stage.age > EVERY / 10][-1:]:
                tell(str(stage))

    _speaking.set()
    threading.Thread(target=speak, daemon=True).start()
    return ended

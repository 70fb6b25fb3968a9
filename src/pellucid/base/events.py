"""What happens while something takes time, told to whoever listens: messages, and stages that begin, go on and end.

Library code tells, and prints nothing. Who listens is said by the command line (`--quiet`, `--log`), or by a program
that uses the library: `with listening(server.send): …`. Where nobody said so, the display of `base/shown.py` listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

_LOG = logging.getLogger("pellucid.events")


@dataclass(eq=False)
class Lasting:
    """Something that takes time: how much of it is `done`, of how much if that is known. `counted`: one by one."""

    label: str
    total: int | None = None
    done: int = 0
    start: float = field(default_factory=lambda: perf_counter())
    counted: bool = False

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


@dataclass(frozen=True)
class Message:
    """A line for people."""

    text: str


@dataclass(frozen=True)
class Began:
    """A stage began."""

    stage: Lasting


@dataclass(frozen=True)
class Advanced:
    """One more of a stage is done."""

    stage: Lasting


@dataclass(frozen=True)
class Ended:
    """A stage ended, be it by an error."""

    stage: Lasting


@dataclass(frozen=True)
class Paused:
    """Nothing goes on but waiting for somebody (`on`), or that is over."""

    on: bool


Event = Message | Began | Advanced | Ended | Paused
Listener = Callable[[Event], None]
_listeners: tuple[Listener, ...] | None = None


def emit(event: Event) -> None:
    """Tell every listener."""
    if isinstance(event, Began):
        _LOG.debug("began %s", event.stage.label)
    elif isinstance(event, Ended):
        _LOG.debug("ended %s", event.stage)
    for listener in _heard_by():
        listener(event)


def tell(text: str = "") -> None:
    """Tell a message."""
    emit(Message(text))


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Let these hear what happens meanwhile, nobody else; without any, nobody does."""
    global _listeners
    before, _listeners = _listeners, listeners
    try:
        yield
    finally:
        _listeners = before


def _heard_by() -> tuple[Listener, ...]:
    if _listeners is not None:
        return _listeners
    from pellucid.base.shown import DISPLAY

    return (DISPLAY,)


def spell(seconds: float) -> str:
    """A time in words: 40 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Listeners that show what happens: on standard error, or in a log file."""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.base.events import Advanced, Began, Ended, Event, Lasting, Message, Paused
from pellucid.base.harmless import complain, harmless
from pellucid.base.terminal import terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 30.0
"""Seconds between two lines; what takes less says nothing."""


class Display:
    """Messages as lines on standard error; progress as a bar where somebody watches, elsewhere a line each half minute.

    Of stages within each other the innermost speaks that has not just begun.
    """

    def __init__(self) -> None:
        self.under_way: list[Lasting] = []
        self._held: list[Lasting] = []
        self._speaker: tuple[Lasting, threading.Event] | None = None
        self._bars: dict[Lasting, tuple[Progress, TaskID]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Message(text):
                complain(text)
            case Began(stage) if sys.stderr.isatty():
                if stage.counted:
                    self._bars[stage] = _bar(stage)
            case Began(stage):
                self.under_way.append(stage)
                if self._speaker is None:
                    self._speaker = stage, self._speak()
            case Advanced(stage) if stage in self._bars:
                bar, task = self._bars[stage]
                bar.advance(task)
            case Ended(stage):
                self._end(stage)
            case Paused(True):
                self._held, self.under_way[:] = self.under_way[:], []
            case Paused(False):
                self.under_way[:], self._held = self._held, []

    def _end(self, stage: Lasting) -> None:
        if stage in self._bars:
            self._bars.pop(stage)[0].stop()
        for stages in (self.under_way, self._held):
            if stage in stages:
                stages.remove(stage)
        if self._speaker and self._speaker[0] is stage:
            self._speaker[1].set()
            self._speaker = None

    def _speak(self) -> threading.Event:
        """Start the thread that speaks; it ends once the event that is returned is set."""
        ended = threading.Event()

        def speak() -> None:
            while not ended.wait(EVERY):
                for stage in [stage for stage in self.under_way if stage.age > EVERY / 10][-1:]:
                    complain(str(stage))

        threading.Thread(target=speak, daemon=True).start()
        return ended


def _bar(stage: Lasting) -> tuple[Progress, TaskID]:
    """A bar with elapsed and remaining time."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    bar = Progress(*columns, console=terminal(errors=True), transient=True)
    bar.start()
    return bar, bar.add_task(f"{stage.label:<28}", total=stage.total)


class Complaints(logging.Handler):
    """Records of `logging` as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        complain(self.format(record))


DISPLAY = Display()
"""What listens where nobody said who does."""


class LogFile:
    """Adds a line with the time to a file for every message, and where a stage begins and ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")

    def __call__(self, event: Event) -> None:
        match event:
            case Message(text):
                self._write(text)
            case Began(stage):
                self._write(f"began {stage.label}")
            case Ended(stage):
                self._write(f"ended {stage}")

    def _write(self, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"{now} {' '.join(harmless(text).split())}\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

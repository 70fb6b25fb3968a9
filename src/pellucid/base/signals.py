"""What ends a process from outside: Ctrl-C, SIGTERM, SIGHUP. The first one unwinds it, a second one ends it at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final

from pellucid.base.files import remove_passing

INTERRUPTED: Final = 130
_NUMBERS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


class Stopped(KeyboardInterrupt):
    """The process was told to end by another signal than Ctrl-C; `exit_code` is what it ends with."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def answer_signals() -> None:
    """Let each signal raise `KeyboardInterrupt` or `Stopped` once, so that what is passing is taken away.

    Those that the process was started to ignore, as by nohup, stay ignored.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _first)


def _first(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    for other in _NUMBERS:
        if signal.getsignal(other) is _first:
            signal.signal(other, _again)
    raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)


def _again(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    remove_passing()
    os._exit(128 + number)


def exit_code(error: KeyboardInterrupt) -> int:
    """What a process ends with that was interrupted: 130 after Ctrl-C, 143 after SIGTERM."""
    return error.exit_code if isinstance(error, Stopped) else INTERRUPTED

"""Repeating something whenever a file is saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pellucid.base.errors import PellucidError
from pellucid.base.progress import waiting
from pellucid.base.signals import Stopped
from pellucid.base.terminal import complain, tell

INTERVAL = 0.2
"""Seconds between two looks at the files."""


def watch(paths: Sequence[Path], action: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Run `action` at once, and again whenever one of `paths` was saved, until Ctrl-C, which ends it quietly.

    What a user can fix (a source that is half typed) is said on standard error, and watching goes on.
    """
    try:
        while True:
            seen = _stamps(paths)
            _try(action)
            tell(f"watching {', '.join(path.name for path in paths)}; Ctrl-C ends")
            with waiting():
                while (now := _stamps(paths)) == seen or None in now:
                    sleep(INTERVAL)
    except KeyboardInterrupt as error:
        if isinstance(error, Stopped):
            raise
        tell()


def _try(action: Callable[[], None]) -> None:
    try:
        action()
    except PellucidError as error:
        complain(f"pellucid: {' '.join(str(error).split())}")


def _stamps(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    """Time of change (ns) and size (bytes) of each file; None while an editor has moved it away."""
    stamps: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size))
    return stamps

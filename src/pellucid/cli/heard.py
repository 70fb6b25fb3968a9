"""Who hears what happens: `--quiet`, `--verbose` and `--log`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pellucid.base.errors import PellucidError
from pellucid.base.events import listening


@dataclass(frozen=True)
class Wanted:
    """What a command shall say meanwhile, and where."""

    quiet: bool = False
    verbose: bool = False
    log: Path | None = None


_wanted = Wanted()


def hear(*, quiet: bool, verbose: bool, log: Path | None) -> None:
    """Note what the command that follows shall say meanwhile."""
    global _wanted
    _wanted = Wanted(quiet, verbose, log)


@contextmanager
def heard() -> Iterator[None]:
    """Let what was asked for listen. Raises `PellucidError` for `--quiet` and `--verbose` at once."""
    if _wanted.quiet and _wanted.verbose:
        raise PellucidError("--quiet and --verbose say the opposite; give one of them")
    with ExitStack() as stack:
        if _wanted.quiet or _wanted.log:
            stack.enter_context(_listened(_wanted.quiet, _wanted.log))
        if _wanted.verbose:
            stack.enter_context(_diagnosed())
        yield


@contextmanager
def _listened(quiet: bool, log: Path | None) -> Iterator[None]:
    from pellucid.base.shown import DISPLAY, LogFile

    file = LogFile(log) if log else None
    listeners = ([] if quiet else [DISPLAY]) + ([file] if file else [])
    try:
        with listening(*listeners):
            yield
    finally:
        if file:
            file.close()


@contextmanager
def _diagnosed() -> Iterator[None]:
    """Let the loggers of pellucid say everything on standard error."""
    from pellucid.base.shown import Complaints

    logger, handler = logging.getLogger("pellucid"), Complaints()
    before = logger.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

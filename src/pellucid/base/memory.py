"""Memory that this process holds: what is free of it, and what is kept to save time alone.

The GNU C library gives large blocks back to the system once they are free, and the system clears them before it gives
them out again. A pass over a large model frees and asks for the same blocks at every step, so freed memory stays with
the process while it lasts. Of other C libraries nothing is asked.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

Made = TypeVar("Made", bound=Callable[..., Any])

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""What mallopt(3) calls by these numbers."""
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
_USUAL = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
"""What the C library itself arrives at in a process that has freed large blocks."""

_forgetting: list[Callable[[], None]] = []
_depth = 0
"""How many passes are under way, one within the other."""


@contextmanager
def keeping() -> Iterator[None]:
    """Let freed memory stay with this process until the end, when it goes back to the system: for a pass over a model.

    May be used as a decorator. Inside another one it gives back what is free, and no more.
    """
    global _depth
    release()
    _depth += 1
    _set(_KEPT)
    try:
        yield
    finally:
        _depth -= 1
        _set(_KEPT if _depth else _USUAL)
        release()


def release() -> None:
    """Forget what is `kept_until_release`, and give freed memory back to the system.

    The C library keeps what was freed below something that is still in use, after a pass over a large model several
    GiB.
    """
    for forget in _forgetting:
        forget()
    if trim := _of_c_library("malloc_trim"):
        trim(0)


def kept_until_release(size: int) -> Callable[[Made], Made]:
    """A decorator: the last `size` results of a function are kept until `release`."""

    def remembering(function: Made) -> Made:
        kept: Any = lru_cache(maxsize=size)(function)
        _forgetting.append(kept.cache_clear)
        return kept  # type: ignore[no-any-return]

    return remembering


def _set(options: dict[int, int]) -> None:
    """Set options of the GNU C library's allocator."""
    if set_option := _of_c_library("mallopt"):
        for option, value in options.items():
            set_option(option, value)


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function of the GNU C library, None where there is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

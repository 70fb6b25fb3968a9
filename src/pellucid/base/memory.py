"""Memory that this process holds: what is free of it, and what is kept to save time alone.

The GNU C library gives large blocks back to the system once they are free, and the system clears them before it gives
them out again. A pass over a large model frees and asks for the same blocks at every step, so a process may `keep` what
it has freed until it says `release`. Of other C libraries nothing is asked.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

Made = TypeVar("Made", bound=Callable[..., Any])

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""What mallopt(3) calls by these numbers."""
_PAD_BYTES = 64 << 20
"""How much more than it needs a process that keeps memory asks the system for."""

_kept: list[Callable[[], None]] = []


def keep() -> None:
    """Let freed memory stay with this process until `release`: for programs whose process it is, not for libraries."""
    if set_option := _of_c_library("mallopt"):
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD_BYTES)):
            set_option(option, value)


def release() -> None:
    """Forget what is `kept_until_release`, and give freed memory back to the system.

    The C library keeps what was freed below something that is still in use, after a pass over a large model several
    GiB.
    """
    for forget in _kept:
        forget()
    if trim := _of_c_library("malloc_trim"):
        trim(0)


def kept_until_release(size: int) -> Callable[[Made], Made]:
    """A decorator: the last `size` results of a function are kept until `release`."""

    def keeping(function: Made) -> Made:
        kept: Any = lru_cache(maxsize=size)(function)
        _kept.append(kept.cache_clear)
        return kept  # type: ignore[no-any-return]

    return keeping


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function of the GNU C library, None where there is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

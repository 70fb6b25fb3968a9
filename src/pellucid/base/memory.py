"""Memory that is free, and still not the system's."""

from __future__ import annotations

import ctypes
import sys


def release() -> None:
    """Give freed memory back to the system.

    The GNU C library keeps what was freed below something that is still in use, after a pass over a large model several
    GiB. Of other C libraries nothing is asked.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)

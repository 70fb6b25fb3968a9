"""What is freed below something that is still in use goes back to the system."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pellucid.base.memory import release

PIECE = 100_000
"""Bytes that the C library takes from its heap, not from the system piece by piece."""


def resident() -> int:
    """Bytes that this process holds."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) << 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is asked")
def test_released_memory_is_the_systems_again() -> None:
    pieces = [bytearray(PIECE) for _ in range(2_000)]
    last = bytearray(PIECE)
    pieces.clear()
    before = resident()
    release()
    assert before - resident() > len(last) * 1_000


def test_what_is_in_use_stays() -> None:
    kept = bytearray(b"x" * PIECE)
    release()
    assert kept == b"x" * PIECE

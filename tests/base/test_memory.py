"""What is freed goes back to the system when it is released, if not before; so does what is kept to save time."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.base.memory import kept_until_release, release

PIECE = 100_000
"""Bytes that the C library takes from its heap, not from the system piece by piece."""


def resident() -> int:
    """Bytes that this process holds."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) << 10


LARGE = """
from pathlib import Path
import pellucid.base.memory as memory

def resident():
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(held.split()[1]) >> 10

def fill():
    blocks = [bytearray(b"x" * (100 << 20)) for _ in range(3)]
    full = resident()
    blocks.clear()
    return full - resident(), full

freed, full = {during}
print(freed, full - resident(), fill()[0])
"""
"""A program that prints how many MiB of 300 are the system's once they are free, after the pass, and in the next."""

of_gnu = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is asked")


@of_gnu
@pytest.mark.parametrize(
    ("during", "stays"),
    [("fill()", False), ("memory.keeping()(fill)()", True), ("memory.keeping()(memory.keeping()(fill))()", True)],
)
def test_memory_that_is_free_stays_with_the_process_during_a_pass(during: str, stays: bool) -> None:
    text = LARGE.format(during=during)
    made = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    freed, after, outside = map(int, made.stdout.split())
    assert freed < 10 if stays else freed > 290
    assert after > 190  # what lies at the end of the heap may stay
    assert outside > 290


def test_what_is_kept_to_save_time_is_forgotten_when_memory_is_released() -> None:
    asked: list[int] = []

    @kept_until_release(2)
    def double(number: int) -> int:
        """Twice a number."""
        asked.append(number)
        return 2 * number

    assert [double(1), double(1), double(2), double(1)] == [2, 2, 4, 2]
    assert asked == [1, 2]
    release()
    assert double(1) == 2
    assert asked == [1, 2, 1]
    assert double.__doc__ == "Twice a number."


@of_gnu
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

"""Working through rows a batch at a time; a batch that does not fit into memory is halved, and that is said once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from pellucid.base.errors import PellucidError
from pellucid.base.terminal import tell

T = TypeVar("T")
_SAID: set[str] = set()


def in_batches(rows: int, size: int, work: Callable[[slice], T], what: str = "rows") -> Iterator[T]:
    """`work` on consecutive slices of `rows`, at most `size` long, shorter where memory does not suffice.

    Raises `PellucidError` where not even one row fits.
    """
    start = 0
    while start < rows:
        try:
            found = work(slice(start, min(rows, start + size)))
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise PellucidError(f"not even one of {rows} {what} fits into memory ({_first_line(error)})") from None
            size = max(1, size // 2)
            _say(f"{what} do not fit into memory; going on with batches of {size}")
            continue
        yield found
        start += size


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory did not suffice, on whatever device."""
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


def _say(line: str) -> None:
    key = line.partition(";")[0]
    if key not in _SAID:
        _SAID.add(key)
        tell(f"pellucid: {line}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]

"""Calls that do not depend on each other, made at once: predictors on NumPy use one core each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")
Together = Callable[[Sequence[Callable[[], Result]]], list[Result]]


@contextmanager
def together() -> Iterator[Together]:  # type: ignore[type-arg]
    """What makes several calls at once, as many as PyTorch has threads, and gives their results in order.

    Each call then has one of these threads. With one thread they are made one after the other.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield lambda calls: [call() for call in calls]
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda calls: list(pool.map(lambda call: call(), calls))
    finally:
        torch.set_num_threads(threads)

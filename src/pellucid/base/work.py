"""Work on units that do not depend on each other, such as rows, parts or checkpoints: the one way to map over them.

Results come in the order of the units, and progress is told. Units are worked on here, or by threads or processes, with
the same results. What is interrupted, or fails, ends what has not begun; where results are kept, a run that was killed
goes on behind the last unit that ended.
"""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

from pellucid.base.errors import PellucidError
from pellucid.base.files import read_text, write_text
from pellucid.base.progress import track

Unit = TypeVar("Unit")
Made = TypeVar("Made")
AHEAD = 2
"""Units that each thread or process is given ahead of what was asked for: so many results wait, and take memory."""


@dataclass(frozen=True)
class Crew:
    """Who works: nobody else, or the threads or processes of a pool."""

    pool: Executor | None = None
    count: int = 1

    def each(self, work: Callable[[Unit], Made], units: Iterable[Unit]) -> Iterator[Made]:
        """What `work` makes of each unit, in their order."""
        if self.pool is None:
            yield from map(work, units)
            return
        waiting: deque[Future[Made]] = deque()
        try:
            for unit in units:
                waiting.append(self.pool.submit(work, unit))
                if len(waiting) >= AHEAD * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def calls(self, calls: Iterable[Callable[[], Made]]) -> list[Made]:
        """The results of several calls, in their order."""
        return list(self.each(_called, calls))


def _called(call: Callable[[], Made]) -> Made:
    return call()


ALONE = Crew()


@contextmanager
def threads() -> Iterator[Crew]:
    """As many threads as PyTorch has, each of which then has one: predictors on NumPy use one core each."""
    import torch

    count = torch.get_num_threads()
    if count == 1:
        yield ALONE
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Crew(pool, count)
    finally:
        torch.set_num_threads(count)


@contextmanager
def processes(count: int) -> Iterator[Crew]:
    """So many processes; work and units are sent to them, so both must be picklable. One is this process itself."""
    if count <= 1:
        yield ALONE
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            yield Crew(pool, count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    """Leave Ctrl-C to the process that gives out work; one core each."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


# --- results that are kept --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results(Generic[Made]):
    """Where the results of units are kept until all are there: a line of JSON each, in the file `path`.

    `about` says what they depend on; those of anything else are not taken. `dump` makes of a result what JSON has, and
    `load` the result of that.
    """

    path: Path
    about: str
    dump: Callable[[Made], Any]
    load: Callable[[Any], Made]

    def read(self) -> list[Made]:
        """The results of the first units, as far as they are kept; a line that was not finished ends them."""
        try:
            first, *lines = read_text(self.path).splitlines(keepends=True)
            if json.loads(first) != {"about": self.about}:
                return []
        except (OSError, ValueError, PellucidError):
            return []
        found: list[Made] = []
        for line in lines:
            try:
                if not line.endswith("\n"):
                    break
                found.append(self.load(json.loads(line)))
            except (ValueError, TypeError, KeyError, PellucidError):
                break
        return found

    @contextmanager
    def writing(self, kept: list[Made]) -> Iterator[Callable[[Made], None]]:
        """What adds a result to those that are `kept`; the file is gone when all ended, and stays when it did not."""
        lines = [{"about": self.about}, *map(self.dump, kept)]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        with self.path.open("a", encoding="utf-8") as stream:

            def add(made: Made) -> None:
                stream.write(json.dumps(self.dump(made)) + "\n")
                stream.flush()

            yield add
        self.path.unlink(missing_ok=True)


def mapped(
    work: Callable[[Unit], Made],
    units: Iterable[Unit],
    label: str,
    *,
    total: int | None = None,
    crew: Crew = ALONE,
    results: Results[Made] | None = None,
) -> Iterator[Made]:
    """What `work` makes of each unit, in their order.

    Args:
        work: What is done with a unit; picklable, as its units are, where other processes work.
        units: The units; of an iterator `total` says how many there are, if that is known.
        label: What is shown while it goes on.
        total: How many units there are.
        crew: Who works: this thread alone, `threads()` or `processes(count)`.
        results: Where results are kept until all units are done, so that a later run goes on from them. Units must come
            in the same order then.

    Yields:
        The results, one a unit.
    """
    if total is None and isinstance(units, Sized):
        total = len(units)
    kept = results.read() if results else []
    left = iter(units)
    for _ in kept:
        next(left, None)
    with results.writing(kept) if results else nullcontext(_forgotten) as add:
        made = crew.each(work, left)

        def whole() -> Iterator[Made]:
            yield from kept
            for found in made:
                add(found)
                yield found

        yield from track(whole(), label, total)


def _forgotten(_: object) -> None:
    """Keeps nothing."""

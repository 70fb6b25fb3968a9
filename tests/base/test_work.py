"""One way to map over units: in their order, told, by several at once, stopped at once, and gone on from."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pellucid.base.events import Advanced, Began, Ended, Event, listening
from pellucid.base.work import AHEAD, ALONE, Crew, Results, mapped, processes, threads


def square(number: int) -> int:
    """Picklable work."""
    if number < 0:
        raise ValueError(f"{number} is below 0")
    return number * number


def results(path: Path, about: str = "these") -> Results[int]:
    return Results(path / "scratch" / "squares.jsonl", about, lambda found: found, int)


@pytest.fixture(params=["alone", "threads", "processes"])
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """Everybody who may work."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    made = {"threads": threads, "processes": lambda: processes(2)}.get(request.param)
    try:
        if made is None:
            yield ALONE
        else:
            with made() as found:
                assert found.count == 2
                yield found
    finally:
        assert torch.get_num_threads() == 2
        torch.set_num_threads(before)


def test_whoever_works_the_results_are_the_same_and_in_order(crew: Crew) -> None:
    heard: list[Event] = []
    with listening(heard.append):
        found = [*mapped(square, range(20), "squares", crew=crew)]
    assert found == [number * number for number in range(20)]
    assert [type(event) for event in heard] == [Began, *[Advanced] * 20, Ended]
    (began, *_) = heard
    assert isinstance(began, Began)
    assert (began.stage.label, began.stage.total) == ("squares", 20)


def test_what_fails_ends_the_rest(crew: Crew) -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="-1 is below 0"):
        found += mapped(square, [1, 2, -1, *range(1000)], "squares", crew=crew)
    assert [*mapped(square, [3], "squares", crew=crew)] == [9]  # and whoever works can go on


def test_no_more_is_begun_than_is_asked_for_soon() -> None:
    begun, go = list[int](), threading.Event()

    def slow(number: int) -> int:
        begun.append(number)
        go.wait(10)
        return number

    torch_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with threads() as crew:
        found = mapped(slow, iter(range(1000)), "numbers", crew=crew)
        go.set()
        assert next(found) == 0
        found.close()  # type: ignore[attr-defined]
    torch.set_num_threads(torch_threads)
    assert len(begun) <= AHEAD * 2 + 1


def test_one_thread_and_one_process_are_this_one() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threads() as one, processes(1) as other:
        assert (one, other) == (ALONE, ALONE)
    torch.set_num_threads(before)


@pytest.mark.parametrize("ended", [0, 1, 7])
def test_what_was_interrupted_goes_on_behind_the_last_unit(tmp_path: Path, ended: int) -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if len(done) == ended:
            raise KeyboardInterrupt
        done.append(number)
        return square(number)

    with pytest.raises(KeyboardInterrupt):
        [*mapped(work, range(10), "squares", results=results(tmp_path))]
    assert done == [*range(ended)]
    again: list[int] = []
    found = [*mapped(lambda n: again.append(n) or square(n), iter(range(10)), "squares", results=results(tmp_path))]
    assert (found, again) == ([square(n) for n in range(10)], [*range(ended, 10)])
    assert not results(tmp_path).path.exists()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"about": "these"}\n0\n1\n', [0, 1]),
        ('{"about": "these"}\n0\n1', [0]),  # killed while it was written
        ('{"about": "these"}\n0\n"many"\n4\n', [0]),
        ('{"about": "others"}\n0\n1\n', []),
        ("0\n1\n", []),
        ("", []),
        ("{", []),
    ],
)
def test_only_whole_results_of_the_same_work_are_taken(tmp_path: Path, text: str, kept: list[int]) -> None:
    path = results(tmp_path).path
    path.parent.mkdir()
    path.write_text(text)
    assert results(tmp_path).read() == kept
    assert [*mapped(square, range(5), "squares", results=results(tmp_path))] == [0, 1, 4, 9, 16]


def test_results_are_there_while_work_goes_on(tmp_path: Path) -> None:
    found = mapped(square, range(5), "squares", results=results(tmp_path))
    assert [next(found), next(found)] == [0, 1]
    lines = [json.loads(line) for line in results(tmp_path).path.read_text().splitlines()]
    assert lines == [{"about": "these"}, 0, 1]

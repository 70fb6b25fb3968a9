"""Without a terminal a line each half minute says what is under way, and nothing where it is quick."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from threading import Event

import pytest

from pellucid.base import events, shown
from pellucid.base.events import Lasting, spell
from pellucid.base.progress import track, waiting, working


class Lines:
    """What was told; `until` lets time pass until there is a line with `text` in it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.new = Event()

    def tell(self, line: str) -> None:
        self.told.append(line)
        self.new.set()

    def until(self, text: str) -> str:
        self.told.clear()
        for _ in range(2000):
            self.new.clear()
            if found := [line for line in self.told if text in line]:
                return found[0]
            self.new.wait(0.05)
        raise AssertionError(f"{text!r} was never told")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Lines as often as can be."""
    found = Lines()
    monkeypatch.setattr(shown, "EVERY", 0.001)
    monkeypatch.setattr(shown, "complain", found.tell)
    yield found
    assert shown.DISPLAY.under_way == []


def test_the_innermost_stage_speaks_and_counts(lines: Lines) -> None:
    with working("still at work"):
        assert lines.until("still at work: ").endswith(" s so far")
        for item in track(["a", "b", "c"], "reading"):
            wanted = {"a": "reading: 0 of 3, ", "b": "reading: 1 of 3, ", "c": "reading: 2 of 3, "}[item]
            line = lines.until(wanted)
            assert ("left" in line) is (item != "a")
        assert "still at work" in lines.until("work")


def test_nothing_is_said_while_somebody_is_waited_for(lines: Lines) -> None:
    with working("still at work"):
        lines.until("work")
        with waiting():
            Event().wait(0.01)
            lines.told.clear()
            Event().wait(0.05)
            assert lines.told == []
            with working("again"):
                lines.until("again")
        lines.until("still at work")


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shown, "EVERY", 1e6)
    assert list(track(range(3), "reading")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_what_is_left_half_done_is_not_under_way(lines: Lines) -> None:
    items = track(range(3), "reading")
    next(items)
    lines.until("reading: 0 of 3")
    del items
    gc.collect()


@pytest.mark.parametrize("leave", [StopIteration, KeyboardInterrupt, ValueError])
def test_errors_end_it(lines: Lines, leave: type[BaseException]) -> None:
    def broken() -> None:
        with working("still at work"):
            lines.until("work")
            raise leave

    with pytest.raises(leave):
        broken()
    with working("again"):
        lines.until("again")


def test_a_stage_says_how_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "perf_counter", lambda: 400.0)
    assert str(Lasting("steps", 2000, 500, start=100.0)) == "steps: 500 of 2,000, 5 min so far, about 15 min left"
    assert str(Lasting("steps", start=360.0)) == "steps: 40 s so far"
    assert [spell(seconds) for seconds in (0.2, 89.0, 91.0, 5000.0, 9000.0)] == [
        "0 s",
        "89 s",
        "2 min",
        "83 min",
        "2.5 h",
    ]

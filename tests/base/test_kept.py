"""What is kept between commands: found once for a text, anew for another one, and never needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.base import kept as store
from pellucid.base.errors import PellucidError
from pellucid.base.kept import keep, kept


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/pellucid" / store.KEPT


def test_an_answer_is_found_once_for_a_text_and_a_question() -> None:
    asked: list[str] = []

    def answer(text: str) -> dict[str, int]:
        asked.append(text)
        return {"letters": len(text)}

    for what, text in (
        ("length", "one"),
        ("length", "one"),
        ("length", "three"),
        ("other", "one"),
        ("length", "\ud800"),
    ):
        assert kept(what, text, lambda: answer(text)) == {"letters": len(text)}  # noqa: B023, called at once
    assert asked == ["one", "three", "one", "\ud800"]


def test_what_was_kept_is_made_again_from_its_json(state: Path) -> None:
    for _ in range(2):
        found = kept("set", "text", lambda: frozenset({3, 1}), sorted, lambda data: frozenset(data))
        assert found == frozenset({3, 1})
    (path,) = state.iterdir()
    assert path.read_text(encoding="utf-8") == "[1,3]"


@pytest.mark.parametrize("damage", ["", "{", "[1]", "null", '{"number": "x"}'])
def test_what_is_damaged_is_found_anew_and_mended(state: Path, damage: str) -> None:
    def ask() -> int:
        return kept("number", "text", lambda: 7, lambda made: {"number": made}, lambda data: int(data["number"]))

    assert ask() == 7
    (path,) = state.iterdir()
    path.write_text(damage, encoding="utf-8")
    assert ask() == 7
    assert path.read_text(encoding="utf-8") == '{"number":7}'


def test_what_fails_is_not_kept(state: Path) -> None:
    def fail() -> int:
        raise PellucidError("no")

    for _ in range(2):
        with pytest.raises(PellucidError, match="no"):
            kept("number", "text", fail)
    assert not state.exists()


def test_nothing_is_needed_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    assert [kept("number", "text", lambda: 7), kept("number", "text", lambda: 8)] == [7, 8]
    keep("number", "text", 9)


def test_what_is_known_already_is_kept_without_asking() -> None:
    keep("number", "text", 5)
    keep("number", "text", 6)
    assert kept("number", "text", lambda: 7) == 5


def test_what_was_kept_first_goes_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST", 8)
    for number in range(30):
        keep("number", str(number), number)
        assert len([*state.iterdir()]) <= 8
    assert kept("number", "29", lambda: -1) == 29


def test_other_code_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept("number", "text", lambda: 7) == 7
    monkeypatch.setattr(store, "_code", lambda: "another version")
    assert kept("number", "text", lambda: 8) == 8

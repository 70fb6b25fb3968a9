"""What is remembered of a large program is what reading it gives, for as long as nothing changes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest

from cli_support import Workshop, copied, own_work
from pellucid.base.errors import SourceError
from pellucid.base.trusted import state_folder
from pellucid.listing import load
from pellucid.project import remembered
from pellucid.project.project import Project


@pytest.fixture
def made(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that counts as large."""
    monkeypatch.setattr(remembered, "LEAST", 1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return copied(workshop, tmp_path / "copy").made


def found(directory: Path) -> tuple[object, ...]:
    """What is shown of a program."""
    project = Project.open(directory)
    listing = project.listing()
    return listing.statements, {name: page.text for name, page in listing.pages.items()}, project.numbers()


def test_the_second_command_reads_no_page(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = found(made)
    with monkeypatch.context() as patch:
        patch.setattr("pellucid.project.project.read_program", None)
        patch.setattr("pellucid.project.project.count_program", None)
        assert found(made) == fresh
        assert Project.open(made).dropped() == Project.open(made).dropped()


def test_a_page_that_changed_is_read_again(made: Path) -> None:
    statements, *_ = found(made)
    page = made / "program" / "layer_00.py"
    page.write_text(f"{page.read_text(encoding='utf-8')}\nimport os\n", encoding="utf-8")
    with pytest.raises(SourceError, match="only the prelude may be imported"):
        found(made)
    page.write_text(page.read_text(encoding="utf-8").replace("\nimport os\n", "\n# a remark\n"), encoding="utf-8")
    assert found(made)[0] == statements


def test_what_is_damaged_is_found_anew(made: Path) -> None:
    fresh = found(made)
    for file in (state_folder() / "read").iterdir():
        file.write_bytes(file.read_bytes()[:70])
    assert found(made) == fresh
    kept = [pickle.loads(file.read_bytes()[64:]) for file in (state_folder() / "read").iterdir()]
    assert fresh[2] in kept


def test_no_more_than_some_are_kept(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 1)
    found(made)
    assert len([*(state_folder() / "read").iterdir()]) == 1


def test_a_small_program_leaves_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "LEAST", 1 << 40)
    found(made)
    assert not (state_folder() / "read").exists()


def test_a_program_is_compiled_and_tried_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("_compiled", "Program.check"):
        monkeypatch.setattr(f"pellucid.listing.load.{name}", _watched(name, asked))
    said = Project.open(made).generate("w1 w2", 4)
    assert {*asked} == {"_compiled", "Program.check"}
    asked.clear()
    assert Project.open(made).generate("w1 w2", 4) == said
    assert asked == []
    page = made / "program" / "layer_00.py"
    with own_work(made):
        page.write_text(f"{page.read_text(encoding='utf-8')}# a remark\n", encoding="utf-8")
    assert Project.open(made).generate("w1 w2", 4) == said
    assert {*asked} == {"_compiled", "Program.check"}


def _watched(name: str, asked: list[str]) -> Callable[..., object]:
    """A function of `load` that also says that it was asked."""
    own: Callable[..., object] = attrgetter(name)(load)

    def function(*given: object) -> object:
        asked.append(name)
        return own(*given)

    return function

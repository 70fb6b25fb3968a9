"""Pages that were read before: what is kept of them is what parsing them gives, of every word."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from emitted import Project
from test_values import furnish

from pellucid.base import kept as store
from pellucid.base.errors import SourceError
from pellucid.listing import held_pages, parse
from pellucid.listing.content import read_words
from pellucid.listing.count import count_program
from pellucid.listing.parse import read_program

PAGE = '''"""A page."""

from .prelude import about, channels, constants, fires, lifted, linear, means, raw, source, value
from .wires import gives, looks, moves, offers, reads, says, seeks, sine, takes, waves
from .words import names, titles

about("L01.H00", "Looks \\ud800 at names.")
raw("L01.LN1")
looks("L01.H01.QK", "From one to names.", seeks(one=0.3), offers(person=-0.9))
moves("L01.H01.OV", "", takes(person=1), gives(answer=0.8))
waves("EMB.POS", "", turn=sine(8, 0.2))


@source("L01.H02.QK")
def looks_at_names(query, key):
    """Looks at names.

    L01.H02.QK
    """
    return 1.5 * helper(key.token) + 0.5 * he(query)


def helper(tokens):
    return 2.0 * names(tokens)


@value
def he(here, seen, fired, l1_ln2):
    return titles(here.token) + seen(0, 1, {0.5: (names, titles)}) + fired(0, {0.8: (1, 7)}) / l1_ln2


@value
def she(he, seen):
    return 0.5 * he + seen(1, 0, names, 1)


raw("L01.H03.QK")
lifted("L01.H03.QK", rank=2)
channels("L01.IN", 1, *range(4, 9), rank=1)
constants("L01.IN", {2: -0.0, 3: 1e-07})
fires("L01.N0004.IN", -0.25, {2.0: (" a", 7), -1.0: ("\\ud800",)}, before={0.5: (" b",)})
linear("L01.N0005.IN", 1, {0.8: (he, she)})
linear("L01.N0006.IN", 0.1, he=2, she=-0.25)
reads("L01.N0007.IN", "On an answer.", -1.2, answer=0.7)
means("L01.OUT", 3, 5)
'''
WORDS = """from .prelude import kind

A_NAME = " Ada"
AN_ID = 17

names = kind({1.0: (A_NAME, " Ida"), -0.5: (AN_ID, 3)})
titles = kind(
    {0.25: (" Mr",)}
)
"""


def test_a_page_is_what_it_was_kept_as() -> None:
    path = Path("program/layer_01.py")
    said = parse._page_said(path, PAGE)
    assert {statement.form for statement in said.statements} == (
        {"raw", "source", "fires", "constants", "linear", "lifted", "channels", "means", "wired"}
    )
    assert said.kinds == {"looks_at_names": ("names",)}
    again = held_pages.load(json.loads(json.dumps(held_pages.dump(said))), path, PAGE.split("\n"))
    assert again == said
    assert repr(again) == repr(said)  # numbers are of the same type, and 0 of the same sign


def test_words_are_what_they_were_kept_as() -> None:
    path = Path("program/words.py")
    words = read_words(path, WORDS)
    again = held_pages.load_words(json.loads(json.dumps(held_pages.dump_words(words))), path, WORDS)
    assert again == words
    assert repr(again) == repr(words)
    assert again.kinds["titles"].text == 'titles = kind(\n    {0.25: (" Mr",)}\n)'


@pytest.fixture
def told(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with kinds and values, and a state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    furnish(project)
    return project.directory


def forget_in_memory() -> None:
    """What another command would not know."""
    parse._tree.cache_clear()  # type: ignore[attr-defined]
    parse._check.cache_clear()  # type: ignore[attr-defined]


def test_a_program_that_was_read_is_not_parsed_again(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_program(told)
    neurons = [address for address, _ in first.sources()]
    counted = count_program(first, neurons)
    assert counted == {address: held for address, held in count_program(first).items() if address in neurons}
    forget_in_memory()
    parsed: list[str] = []
    monkeypatch.setattr(parse, "_tree", lambda _, name: parsed.append(name))
    again = read_program(told)
    assert (again.statements, again.pages, again.abouts) == (first.statements, first.pages, first.abouts)
    assert count_program(again, neurons) == counted
    assert parsed == []


def test_only_the_page_that_changed_is_parsed(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_program(told)
    page = told / "program/layer_01.py"
    page.write_text(page.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    forget_in_memory()
    parsed: set[str] = set()
    tree = parse._tree

    def noted(text: str, name: str) -> ast.Module:
        parsed.add(name)
        return tree(text, name)

    monkeypatch.setattr(parse, "_tree", noted)
    assert read_program(told).statements == first.statements
    assert parsed == {"layer_01.py"}


@pytest.mark.parametrize("line", ["import os", "x = open", 'raw("L00.LN1")', "def broken("])
def test_what_was_kept_lets_nothing_through(told: Path, line: str) -> None:
    read_program(told)
    page = told / "program/layer_01.py"
    good = page.read_text(encoding="utf-8")
    for _ in range(2):
        page.write_text(f"{good}\n{line}\n", encoding="utf-8")
        with pytest.raises(SourceError, match=r"layer_01.py:\d+: "):
            read_program(told)
        page.write_text(good, encoding="utf-8")
        read_program(told)


def test_a_kind_that_went_is_missed_although_no_page_changed(told: Path) -> None:
    read_program(told)
    words = told / "program/words.py"
    words.write_text(words.read_text(encoding="utf-8").replace("verbs =", "others ="), encoding="utf-8")
    forget_in_memory()
    with pytest.raises(SourceError, match=r"words\.py has no kind verbs to import"):
        read_program(told)


def test_damage_of_what_was_kept_is_mended(told: Path, tmp_path: Path) -> None:
    first = read_program(told)
    for path in (tmp_path / "state/pellucid" / store.KEPT).iterdir():
        path.write_text('{"statements": [{"line": 1, "end": 1}], "values": 3}', encoding="utf-8")
    assert read_program(told).statements == first.statements

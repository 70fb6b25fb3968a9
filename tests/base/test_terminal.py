"""Nothing that a stranger named steers the terminal, and all that is printed goes the one way that sees to it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import pellucid
from pellucid.base.terminal import harmless, json_text, say, tell, terminal

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202ecod\u2066\u200e\u2028\r[/b][red]:skull:\ud800"
STEERING = set("\x1b\x07\x9b\x7f\u202e\u2066\u200e\u2028\r\ud800")
SOURCES = Path(pellucid.__file__).parent
PROGRAMS = {"program/main.py", "accounts/main.py"}
ELSEWHERE = {"base/harmless.py", "base/terminal.py", "weightless/emit.py", "weightless/clock.py", *PROGRAMS}
"""What prints, and programs that are written out or hold such as text."""


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert harmless("a\x1b[2Jb\x9bc\u202ed\ud800\U000e0041") == r"a\x1b[2Jb\x9bc\u202ed\ud800\U000e0041"
    assert harmless("Zoë says: ›naïve‹\n\tמילה 🤗 👩‍🔬\n") == "Zoë says: ›naïve‹\n\tמילה 🤗 👩‍🔬\n"


def test_lines_and_tables_show_it_and_take_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    tell(EVIL)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(Text(EVIL))
    table.add_row(EVIL)
    console = terminal()
    console.print(table)
    console.print(EVIL, soft_wrap=True)
    terminal(errors=True).print(EVIL)
    out, err = capsys.readouterr()
    assert not STEERING & {*out, *err}
    assert out.count("[/b][red]:skull:") == 6
    assert err.count("[/b][red]:skull:") == 2


def test_tables_stay_straight(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "value")
    table.add_row("plain", "1")
    table.add_row("\x1b[31mred", "2")
    terminal().print(table)
    lines = capsys.readouterr().out.rstrip("\n").split("\n")
    assert len({len(line) for line in lines}) == 1


def test_json_says_the_same_with_escapes_of_its_own() -> None:
    data = {"name": EVIL, "tokens": ["é", "🤗"]}
    text = json_text(data)
    assert json.loads(text) == data
    assert not STEERING & set(text)
    assert "é" in text
    assert json.loads(json_text({"value": float("nan")})) == {"value": None}


def test_nothing_prints_by_another_way() -> None:
    for path in sorted(SOURCES.rglob("*.py")):
        if path.relative_to(SOURCES).as_posix() in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "Console"}, f"{path}:{node.lineno}: use pellucid.base.terminal"

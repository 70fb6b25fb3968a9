"""What library code tells is heard by whoever listens, and by the terminal where nobody said who does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pellucid
from pellucid.base.errors import CorpusError
from pellucid.base.events import Advanced, Began, Ended, Event, Message, Paused, listening, tell
from pellucid.base.progress import track, waiting, working
from pellucid.base.shown import LogFile

PACKAGE = Path(pellucid.__file__).parent
PRINTS = {
    *("base/harmless.py", "base/terminal.py", "base/output.py", "base/shown.py"),
    *("project/trust.py", "view/watch.py", "cli/output.py"),  # questions and errors
    *("program/main.py", "accounts/main.py", "weightless/clock.py", "weightless/emit.py"),  # text of programs
}
"""Modules that may print, or write to standard error."""


def test_listeners_hear_messages_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    with listening(heard.append):
        tell("a line")
        for _ in track("ab", "reading"):
            pass
        with working("writing") as stage, waiting():
            stage.done = 3
        with pytest.raises(CorpusError), working("failing"):
            raise CorpusError("too short")
    said = [(type(event), getattr(getattr(event, "stage", None), "label", None)) for event in heard]
    assert said == [
        (Message, None),
        *((kind, "reading") for kind in (Began, Advanced, Advanced, Ended)),
        (Began, "writing"),
        *((Paused, None), (Paused, None)),
        (Ended, "writing"),
        *((Began, "failing"), (Ended, "failing")),
    ]
    assert [event.stage.done for event in heard if isinstance(event, Ended)] == [2, 3, 0]
    assert capsys.readouterr() == ("", "")


def test_the_terminal_listens_where_nobody_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    tell("before")
    with listening():
        tell("to nobody")
    tell("behind\x1b[2J")
    assert capsys.readouterr() == ("", "before\nbehind\\x1b[2J\n")


def test_a_log_file_has_lines_with_the_time(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    with listening(log):
        tell("two\nlines")
        list(track("ab", "reading"))
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["two lines", "began reading", lines[2].partition(" ")[2]]
    assert lines[2].partition(" ")[2].startswith("ended reading: 2 of 2, 0 s so far")
    assert all(line[:2] == "20" and line[19:25] == "+00:00" for line in lines)


def printing(tree: ast.Module) -> list[str]:
    """What a module does that writes to the terminal: calls of `print`, and uses of standard error."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "complain"):
            found.append(f"{node.lineno}: {node.func.id}")
        if isinstance(node, ast.Attribute) and node.attr == "stderr":
            found.append(f"{node.lineno}: stderr")
    return found


def test_library_code_does_not_print() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): told
        for path in sorted(PACKAGE.rglob("*.py"))
        if (told := printing(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert set(found) - PRINTS == set(), "tell an event (base/events.py)"
    assert printing(ast.parse("import sys\nprint('a', file=sys.stderr)\ncomplain()")) == [
        *("2: print", "3: complain", "2: stderr"),
    ]

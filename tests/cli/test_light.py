"""Commands that read or run a program do so on NumPy alone."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from test_start import started

from cli_support import Workshop
from pellucid.__main__ import _Asked
from pellucid.base.trusted import state_folder
from pellucid.listing import importing
from pellucid.listing.running import load_checked

HEAVY = {"torch", "transformers", "scipy", "sklearn", "matplotlib", "tokenizers", "huggingface_hub"}


@pytest.mark.parametrize(
    "arguments",
    [["run", "DIR", "w1 w2 w3"], ["show", "DIR", "L00.H01.QK"], ["report", "DIR"]],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_no_model_imports_none(workshop: Workshop, arguments: list[str]) -> None:
    printed, imported = started(*(str(workshop.made) if word == "DIR" else word for word in arguments))
    assert printed
    assert imported & HEAVY == set()


def test_run_says_what_the_program_says(workshop: Workshop) -> None:
    printed, _ = started("run", str(workshop.made), "w1 w2 w3", "--tokens", "4")
    program = [sys.executable, "-m", "program", "w1 w2 w3", "--tokens", "4"]
    answer = subprocess.run(program, cwd=workshop.made, capture_output=True, text=True, env=os.environ)
    assert printed == answer.stdout


def test_what_was_checked_is_run_without_the_command_line(workshop: Workshop) -> None:
    plain = ["run", str(workshop.made), "w1 w2 w3"]
    first, imported = started(*plain)
    assert "typer" in imported
    said, light = started(*plain)
    assert said == first
    assert light & {"typer", "rich", "pydantic", "pellucid.listing.parse"} == set()
    workshop.edit("program/layer_00.py", 'raw("L00.H01.OV")', 'raw("L00.H01.OV")\n\n# a remark')
    said, imported = started(*plain)
    assert (said, "typer" in imported) == (first, True)  # it is read and checked again
    with (workshop.made / "program" / "layer_00.py").open("a") as page:
        page.write("# a stranger's\n")
    command = [sys.executable, "-m", "pellucid", *plain]
    answer = subprocess.run(command, capture_output=True, text=True, env=os.environ, stdin=subprocess.DEVNULL)
    assert answer.returncode == 2
    assert "layer_00.py changed" in answer.stderr


def test_so_it_is_with_fewer_tokens_or_sources_alone(workshop: Workshop) -> None:
    plain = ["run", str(workshop.made), "w1 w2 w3"]
    started(*plain)
    for more in (["--tokens", "3"], ["--source-only"], ["--tokens", "2", "--source-only"]):
        said, light = started(*plain, *more)
        usual, imported = started(*plain, *more, "--seed", "0")
        assert said == usual
        assert ("typer" in light, "typer" in imported) == (False, True)
    assert asked("--tokens", "0") is asked("--tokens", "x") is asked("--tokens") is asked("--json") is None


def asked(*more: str) -> object:
    """What a command line asks that is answered at once."""
    return _Asked.of(["run", "DIR", "TEXT", *more])


def test_what_cannot_be_run_at_once_is_said_as_ever(workshop: Workshop) -> None:
    started("run", str(workshop.made), "w1 w2 w3")
    command = [sys.executable, "-m", "pellucid", "run", str(workshop.made), "nobody"]
    answer = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert answer.returncode == 2
    assert "'nobody'" in answer.stderr


def test_what_modules_are_compiled_to_is_kept_by_their_text(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(importing, "KEPT_COMPILED", 8)
    texts = {path.name: path.read_text() for path in (workshop.made / "program").glob("*.py")}
    before = load_checked(workshop.made, texts)
    kept = state_folder() / importing.COMPILED
    assert 0 < len(list(kept.iterdir())) <= 8  # the oldest go
    monkeypatch.setattr(importing, "KEPT_COMPILED", 400)
    load_checked(workshop.made, texts)
    stamps = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    ids = np.array([[1, 2, 3]])
    after = load_checked(workshop.made, texts)
    assert (after.extend(ids)[0] == before.extend(ids)[0]).all()
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == stamps
    load_checked(workshop.made, texts | {"__main__.py": texts["__main__.py"] + "\n"})  # nothing imports it
    assert len(list(kept.iterdir())) == len(stamps)
    load_checked(workshop.made, texts | {"parts.py": texts["parts.py"] + "\n# other\n"})
    assert len(list(kept.iterdir())) == len(stamps) + 1

"""Accounts in a project: what pellucid writes beside them, and what runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop
from pellucid.accounts.folder import Folder, own_files
from pellucid.base.errors import ProjectError, SourceError
from pellucid.project.project import Project
from pellucid.project.trust import is_trusted


def asked(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What the emitted program prints, run with nothing of pellucid's on its path."""
    command = [sys.executable, "-m", "program.accounts", text]
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, env={}, check=False)


def test_an_account_written_by_hand_runs(workshop: Workshop) -> None:
    write_account(workshop)
    folder = Folder(Project.open(workshop.made))
    assert folder.furnish() == ["__init__.py", "__main__.py", "language.py"]
    assert folder.furnish() == []
    assert is_trusted(workshop.made)
    found = asked(workshop.made, "w2 w5 w1")
    assert found.stdout == (
        "' w3'  of the answer 'w3 w4'\n"
        "next.py:20  return NEXT[said_last(text)]\n"
        "    said_last = 'w1'  (L00.H01 @ here, moved 0.75)\n"
        "tables/next.tsv:2  'w1' -> 'w3 w4'  (agreement 1.00)\n"
    ), found.stderr
    assert asked(workshop.made, "w2 w5 w1 w3").stdout.startswith("' w4'  of the answer 'w3 w4', tokens of it so far: 1")
    assert asked(workshop.made, "w2 w9 w1").stdout == "no account speaks\n"


def test_what_cannot_be_read_ends_in_a_line(workshop: Workshop) -> None:
    write_account(workshop, table=NEXT + "w1\tw2\t1.00\n")
    Folder(Project.open(workshop.made)).furnish()
    found = asked(workshop.made, "w1")
    assert found.returncode == 2
    assert found.stderr == (
        "program.accounts: next.py:5: next.tsv:4: 'w1' stands in line 2 already; leave one line for it\n"
    )
    with pytest.raises(SourceError, match=r"program/accounts/next.py:5: next.tsv:4"):
        Folder(Project.open(workshop.made)).accounts()


def test_an_answer_that_no_token_begins_is_told_by_its_rule(workshop: Workshop) -> None:
    write_account(workshop, table=NEXT.replace("w3 w4", "heaven"))
    Folder(Project.open(workshop.made)).furnish()
    assert asked(workshop.made, "w2 w1").stderr.startswith(
        "program.accounts: next.py:20: the model cannot say 'heaven': 'heaven' is not"
    )


def test_accounts_of_a_stranger_do_not_run(workshop: Workshop) -> None:
    write_account(workshop)
    (workshop.made / "program/accounts/next.py").write_text(ACCOUNT + "\n")
    with pytest.raises(ProjectError, match="--trust"):
        Folder(Project.open(workshop.made)).accounts()


def test_the_language_is_emitted_as_it_is() -> None:
    import pellucid.accounts.language as language

    files = own_files()
    assert files["language.py"] == Path(str(language.__file__)).read_text(encoding="utf-8")
    assert "pellucid" not in files["language.py"] + files["__main__.py"]

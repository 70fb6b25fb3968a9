"""Accounts in a project: what pellucid writes beside them, and what runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop, own_work
from pellucid.accounts.described import VariableCard, cards
from pellucid.accounts.folder import Folder, own_files
from pellucid.accounts.ties.variables import quantities
from pellucid.accounts.uses import pages
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


SHARING = ACCOUNT[: ACCOUNT.index("@account")].replace("account, ", "")
"""The variable of the account by hand, in a file of its own."""
ASKING = ACCOUNT.replace(ACCOUNT[ACCOUNT.index("@variable") : ACCOUNT.index("@account")], "").replace(
    'LATE = one_of("w9", "w10")\n', 'from .variables import said_last\n\nLATE = one_of("w9", "w10")\n'
)
"""The account by hand, which imports its variable."""


def test_files_share_a_variable(workshop: Workshop) -> None:
    write_account(workshop, ASKING.replace(", variable", ""))
    with own_work(workshop.made):
        folder = workshop.made / "program" / "accounts"
        (folder / "variables.py").write_text(
            SHARING.replace(", one_of", "").replace('LATE = one_of("w9", "w10")\n', "")
        )
        (folder / "other.py").write_text(
            "from .language import account\nfrom .variables import said_last\n\n\n@account\ndef next_token(text):\n"
            '    if text.ends(" w7"):\n        return said_last(text)\n'
        )
    project = Project.open(workshop.made)
    Folder(project).furnish()
    said = asked(workshop.made, "w2 w5 w1")
    assert "    said_last = 'w1'  (L00.H01 @ here, moved 0.75)\n" in said.stdout, said.stderr
    assert asked(workshop.made, "w2 w5 w7").stdout.startswith("' w5'  of the answer 'w5'\nother.py:8")
    accounts = Folder(project).accounts()
    row = accounts.row(project.model.tokenizer.encode("w2 w5 w7"))
    assert accounts.value("other.py", "said_last", row) == accounts.value("variables.py", "said_last", row) == "w5"
    (variable,) = cards(project, "said_last")
    assert isinstance(variable, VariableCard)
    assert (variable.variable.file, variable.keys) == ("variables.py", ("next.tsv",))
    assert [str(rule) for rule, _ in variable.rules] == ["next.py:16", "other.py:8"]
    assert variable.text.startswith('@variable(tie="L00.H01 @ here"')
    (one,) = [one for one in quantities(pages(Folder(project))) if one.is_variable]
    assert (one.label, one.files) == ("said_last", ("next.py", "other.py", "variables.py"))


@pytest.mark.parametrize(
    ("shared", "reason"),
    [
        (SHARING.replace("said_last", "other"), "next.py:.*variables.py has no variable said_last to import"),
        (ACCOUNT, "variables.py:.*variables.py holds variables, and no account"),
        ("from .variables import said_last\n", "variables.py:.*only .language, .tables and .variables may be"),
        (SHARING.replace("@variable(tie", "@account\n@variable(tie"), "variables.py"),
    ],
)
def test_what_cannot_be_shared_is_said(workshop: Workshop, shared: str, reason: str) -> None:
    write_account(workshop, ASKING)
    with own_work(workshop.made):
        (workshop.made / "program" / "accounts" / "variables.py").write_text(shared)
    with pytest.raises(SourceError, match=reason):
        Folder(Project.open(workshop.made)).accounts()

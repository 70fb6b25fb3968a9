"""Accounts that are found lie in the project, and what a person wrote there stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_support import Workshop, pellucid
from pellucid.accounts.find import command
from pellucid.project.project import Project

TOKENS = "2500"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little text is enough."""
    monkeypatch.setattr(command, "FEWEST_TOKENS", 500)


def files(made: Path) -> dict[str, str]:
    folder = made / "program" / "accounts"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.*")) if path.is_file()}


@pytest.mark.usefixtures("small")
def test_what_is_found_is_written_and_found_again_as_it_was(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    written = command.find_accounts(project, int(TOKENS))
    first = files(workshop.made)
    assert set(written) <= set(first)
    assert command.find_accounts(Project.open(workshop.made), int(TOKENS)) == written
    assert files(workshop.made) == first


@pytest.mark.usefixtures("small")
def test_a_persons_files_stay(workshop: Workshop) -> None:
    made = workshop.made
    written = command.find_accounts(Project.open(made), int(TOKENS))
    folder = made / "program" / "accounts"
    if not written:
        pytest.fail("nothing was found in the text of the tiny subject")
    changed = folder / written[0]
    changed.write_text(changed.read_text() + "\n")
    mine = folder / "mine.py"
    mine.write_text("from .language import account\n\n\n@account\ndef next_token(text):\n    return None\n")
    kept = changed.read_text()
    command.find_accounts(Project.open(made, trust=True), int(TOKENS))
    assert changed.read_text() == kept
    assert mine.is_file()


def test_too_little_text_is_said(workshop: Workshop) -> None:
    answer = pellucid("accounts", workshop.made)
    assert answer.code == 0
    assert "are too few to find accounts in; at least 20,000 are needed" in answer.err

"""`pellucid accounts` and `pellucid readers`: measure accounts, and how well they are understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.accounts.folder import Folder
from pellucid.accounts.marks import score
from pellucid.accounts.measure import POSITIONS, measure
from pellucid.accounts.questions import draw
from pellucid.accounts.ties.run import ties as find_ties
from pellucid.base.errors import ProjectError
from pellucid.base.files import write_text
from pellucid.project.project import REPORT, Project


def metered(project: Project, ties: bool = False, check: int = POSITIONS["check"]) -> dict[str, Any] | None:
    """The figures of the accounts of `project`, which stand in its report too if it has one; None without accounts.

    Of check text so many positions are read, at most.

    With `ties` it is found first what carries their variables. Files that every folder of accounts has are written
    where they are missing.
    """
    folder = Folder(project)
    if folder.files:
        folder.accounts()
        folder.furnish()
        if ties:
            find_ties(project)
    figures = measure(project, check)
    if (project.directory / REPORT).is_file():
        project.save_report(project.report() | {"accounts": figures})
    return figures


def tested(project: Project, n: int, seed: int, output: Path | None, answers: Path | None) -> dict[str, Any]:
    """Draw `n` questions for readers into the file `output`, or mark `answers`.

    Raises `ProjectError` for both or none.
    """
    if (output is None) == (answers is None):
        raise ProjectError(
            "expected either -o QUESTIONS.jsonl, to draw questions, or --score ANSWERS.jsonl, to mark them"
        )
    if answers is not None:
        return score(project, answers)
    assert output is not None
    if output.exists():
        raise ProjectError(f"{output} is there already; name a file that is not")
    questions = draw(project, n, seed)
    write_text(output, "".join(f"{json.dumps(question, ensure_ascii=False)}\n" for question in questions))
    return {"questions": len(questions), "file": str(output)}

"""`pellucid accounts`: measure the accounts of a program, and put the figures into its report."""

from __future__ import annotations

from typing import Any

from pellucid.accounts.folder import Folder
from pellucid.accounts.measure import measure
from pellucid.match.project import REPORT, Project


def metered(project: Project) -> dict[str, Any] | None:
    """The figures of the accounts of `project`, which stand in its report too if it has one; None without accounts.

    Files that every folder of accounts has are written where they are missing.
    """
    folder = Folder(project)
    if folder.files:
        folder.accounts()
        folder.furnish()
    figures = measure(project)
    if (project.directory / REPORT).is_file():
        project.save_report(project.report() | {"accounts": figures})
    return figures

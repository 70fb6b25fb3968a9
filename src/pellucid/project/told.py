"""What was measured of a project's accounts: kept as a stage of the evidence, for the accounts as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.base.files import sha256_files, sha256_text
from pellucid.project.project import Project

STAGE = "accounts"
ACCOUNTS = "program/accounts"


def account_state(project: Project) -> str:
    """A hash of all that figures of accounts depend on: their files, the weights, and the text."""
    files = sorted(path for path in _files(project.directory / ACCOUNTS) if path.is_file())
    names = " ".join(path.name for path in files)
    texts = " ".join(split.sha256 for split in project.texts.named.values())
    return sha256_text(f"{names} {sha256_files(files)} {project.manifest.subject.weights_sha256} {texts}")


def account_figures(project: Project) -> dict[str, Any] | None:
    """The figures of the accounts as they stand; None where there are none, or they were not measured."""
    text = project.evidence.finished(STAGE, account_state(project))
    if text is None:
        return None
    with project.evidence.understood(STAGE):
        found: dict[str, Any] | None = json.loads(text)
        if found is not None:
            found["all"], found["hard"], found["symbols"]  # what whoever prints it takes
    return found


def _files(folder: Path) -> list[Path]:
    """The files of accounts, tables and classes."""
    return [*folder.glob("*.py"), *folder.glob("tables/*")]

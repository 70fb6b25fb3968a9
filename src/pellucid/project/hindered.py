"""What the last run of `decompile` could not serve of a subject, and which switch was in the way: kept as evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pellucid.base.errors import ProjectError
from pellucid.base.schema import parsed
from pellucid.project.project import EVIDENCE, Project

_STAGE: Final = "hindered"


def keep_hindered(project: Project, said: Sequence[str]) -> None:
    """Keep what could not be served, one sentence each, in the place of what was kept before."""
    if [*said] != hindered(project):
        project.evidence.finish(_STAGE, project.manifest.subject.weights_sha256, json.dumps([*said]))


def hindered(project: Project) -> list[str]:
    """What could not be served, one sentence each. Raises `ProjectError` for what is kept as something else."""
    if not (project.directory / EVIDENCE).is_file():  # asking makes one where there is none
        return []
    text = project.evidence.latest(_STAGE)
    return [] if text is None else parsed(list[str], text, f"evidence.sqlite, stage `{_STAGE}`", ProjectError)

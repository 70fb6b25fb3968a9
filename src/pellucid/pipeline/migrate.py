"""From format 1 to format 2: the same program, printed from what its model is made of, and its weights by address."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pellucid.base.lock import writing
from pellucid.listing.emit import emit
from pellucid.listing.parse import is_format_1
from pellucid.project.project import Project

FORMAT: Final = 2


def migrate(project: Project) -> tuple[str, ...]:
    """Bring a directory to format 2; statements, names, accounts and edits stay as they are. Returns what was written.

    Raises `ProjectError` for a program that is not trusted, and `SourceError` where a person changed what is not a
    statement.
    """
    project.require_trust()
    with writing(project.directory):
        there = is_format_1(project.directory / "program")
        if not there and project.manifest.format == FORMAT:
            return ()
        written = emit(project.subject, project.directory).written
        project.manifest = replace(project.manifest, format=FORMAT)
        project.manifest.write(project.directory)
    return written

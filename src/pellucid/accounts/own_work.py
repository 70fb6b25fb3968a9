"""Account files that pellucid wrote: what it wrote last is noted with the evidence, so that a person's work stays."""

from __future__ import annotations

from pellucid.accounts.folder import FOLDER
from pellucid.base.files import MOST_OF_PAGE, read_text, sha256_text
from pellucid.base.trusted import write_own
from pellucid.project.project import Project

STAGE = "accounts-written"


def write(project: Project, file: str, text: str) -> None:
    """Write the account `file`, and note that this is pellucid's own work."""
    project.evidence.finish(STAGE, file, sha256_text(text))
    write_own(project.directory, f"{FOLDER}/{file}", text)


def is_own(project: Project, file: str) -> bool:
    """Whether the account `file` is as pellucid wrote it: nobody changed it since."""
    noted = project.evidence.finished(STAGE, file)
    path = project.directory / FOLDER / file
    return noted is not None and path.is_file() and sha256_text(read_text(path, MOST_OF_PAGE)) == noted

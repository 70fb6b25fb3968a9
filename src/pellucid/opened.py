"""A project as `pellucid.open` gives it: with all that is done with one, which lies above what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts
from pellucid.project.project import Project
from pellucid.rewrite.export import Exported, export
from pellucid.verify.check import Check, check
from pellucid.verify.next import Suggestion, next_parts
from pellucid.verify.scratch import Scratch, scratch


class OpenedProject(Project):
    """A project that was opened from Python."""

    def accounts(self) -> Accounts:
        """Its accounts, ready to be asked: `accounts.said(ids)` tells what they say behind every token.

        Where there are none, none speaks. Raises `ProjectError` if they are a stranger's and not trusted, and
        `SourceError` naming file and line for what is broken in them.
        """
        return Folder(self).accounts()

    def next(self, count: int = 15) -> list[Suggestion]:
        """The `count` parts that leave most unexplained, the most first; see `pellucid.verify.next`."""
        return next_parts(self, count)

    def scratch(self, address: str) -> Scratch:
        """Try the source of one part on frozen text, without the model; see `pellucid.verify.scratch`."""
        return scratch(self, address)

    def check(self, against: Path | None = None, *, measured: bool = True, full: bool = False) -> Check:
        """What got worse since the last report, or the report `against`; see `pellucid.verify.check`."""
        return check(self, against, measured=measured, full=full)

    def export(self, target: Path | str, steer: Mapping[str, Tensor | float] | None = None) -> Exported:
        """Write what the program computes as a checkpoint for Transformers; see `pellucid.rewrite.export`."""
        return export(self, target, steer)

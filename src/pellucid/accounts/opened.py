"""A project as `pellucid.open` gives it: with its accounts, which lie above what a project is made of."""

from __future__ import annotations

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts
from pellucid.match.project import Project


class OpenedProject(Project):
    """A project that was opened from Python."""

    def accounts(self) -> Accounts:
        """Its accounts, ready to be asked: `accounts.said(ids)` tells what they say behind every token.

        Where there are none, none speaks. Raises `ProjectError` if they are a stranger's and not trusted, and
        `SourceError` naming file and line for what is broken in them.
        """
        return Folder(self).accounts()

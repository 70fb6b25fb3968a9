"""What accounts say at the end of a prompt: the rule that speaks, its variables, and lines of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import AccountError, Accounts, Said
from pellucid.accounts.main import said_lines
from pellucid.base.errors import SourceError
from pellucid.project.project import Project


@dataclass(frozen=True)
class Here:
    """What `accounts` say at a place; `said` is None where none of them speaks."""

    accounts: Accounts
    said: Said | None

    @property
    def text(self) -> str:
        """To read below what the parts do."""
        return "\n".join(["accounts:", *(f"  {line}" for line in said_lines(self.accounts, self.said))])

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it; null where no account speaks."""
        if self.said is None:
            return {"account": None}
        said, rule = self.said, self.accounts.rules[self.said.rule]
        ties = {name: self.accounts.ties[name] for name in said.values}
        return {
            "account": {
                "says": self.accounts.spelling.pieces[said.token],
                "answer": str(said.answer),
                "begun": said.begun,
                "rule": str(rule),
                "text": rule.text,
                "variables": [
                    {"name": name, "value": _plain(value), "tie": ties[name][0], "moved": ties[name][1]}
                    for name, value in said.values.items()
                ],
                "lines": [{"table": name, **self.accounts.tables[name].row(key)} for name, key in said.lines],
            }
        }


def here(project: Project, prompt: str | Sequence[int]) -> Here | None:
    """What the accounts of `project` say behind `prompt` (text, or token ids); None where there are none.

    Raises `ProjectError` if they are a stranger's, `SourceError` naming file and line for what is broken in them.
    """
    folder = Folder(project)
    if not folder.files:
        return None
    accounts = folder.accounts()
    ids = project.model.tokenizer.opened(prompt) if isinstance(prompt, str) else list(prompt)
    try:
        return Here(accounts, accounts.said(ids)[-1] if ids else None)
    except AccountError as error:
        raise SourceError(f"{FOLDER}/{error}") from None


def _plain(value: object) -> Any:
    """A value of a variable as JSON has it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

"""Which program directories this user has made or chosen to trust: loading a program runs its code.

Like the workspace trust of editors: a list of paths in the user's state directory. `decompile` trusts what it writes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pellucid.base.errors import ProjectError
from pellucid.base.files import write_text


def _store() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "pellucid" / "trusted.json"


def _trusted() -> list[str]:
    try:
        entries = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def is_trusted(directory: Path) -> bool:
    """Whether the user made `directory` or has said that it may run."""
    return str(directory.resolve()) in _trusted()


def trust(directory: Path) -> None:
    """Remember that the program in `directory` may run."""
    entries = {*_trusted(), str(directory.resolve())}
    write_text(_store(), json.dumps(sorted(entries), indent=1) + "\n")


def require_trust(directory: Path, *, granted: bool = False) -> None:
    """Pass if `directory` is trusted or `granted`; ask where somebody can answer; else raise `ProjectError`."""
    if is_trusted(directory):
        return
    if not granted and sys.stdin.isatty() and sys.stderr.isatty():
        print(
            f"{directory}/program was not made here, and running it runs its code. Run it? [y/N] ",
            end="",
            file=sys.stderr,
        )
        granted = input().strip().lower() in {"y", "yes"}
    if not granted:
        raise ProjectError(
            f"{directory}/program was not made here, and running it runs its code; read it first, then pass --trust"
        )
    trust(directory)

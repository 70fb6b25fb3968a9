"""Which programs this account has made or chosen to run: loading a program runs its code.

Like the workspace trust of editors, but bound to what is there: `pellucid.base.trusted` remembers a directory with the
hashes of its files. What pellucid writes to it stays trusted; any other change is named, and asked about.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pellucid.base.errors import ProjectError
from pellucid.base.harmless import complain
from pellucid.base.trusted import Contents, contents, record, recorded

NAMED = 4
"""Files that are named where several have changed."""


def is_trusted(directory: Path, found: Contents | None = None) -> bool:
    """Whether the user made `directory`, or has said that it may run, as it is now: with what was `found` there."""
    held = recorded(directory)
    return held is not None and not _changes((found or contents(directory)).files, held)


def trust(directory: Path) -> None:
    """Remember that the program in `directory` may run as it is now.

    Where that cannot be written the command goes on, and says so: the next one asks again.
    """
    _remember(directory, contents(directory).files)


def _remember(directory: Path, files: Mapping[str, str]) -> None:
    try:
        record(directory, files)
    except OSError as error:
        from pellucid.base.events import tell  # seldom, and it takes longer than all else here

        tell(
            f"pellucid: {error.filename or 'the state folder'}: {error.strerror or error}; that {directory} may run is "
            "not remembered, and the next command needs --trust (XDG_STATE_HOME names another place to remember it)"
        )


def require_trust(directory: Path, *, granted: bool = False, found: Contents | None = None) -> None:
    """Pass if `directory` is trusted as it is now, or `granted`; ask where somebody can answer; else `ProjectError`.

    `found` is what is there, where that is known. What was granted is remembered.
    """
    files, held = (found or contents(directory)).files, recorded(directory)
    changes = () if held is None else _changes(files, held)
    if held is not None and not changes:
        return
    what = _reason(directory, changes)
    if not granted and sys.stdin.isatty() and sys.stderr.isatty():
        complain(f"{what}. Run it? [y/N] ", end="")
        granted = sys.stdin.readline().strip().lower() in {"y", "yes"}
    if not granted:
        advice = "if that is your work, or you have read it," if changes else "read it first, then"
        raise ProjectError(f"{what}; {advice} pass --trust")
    _remember(directory, files)


def _reason(directory: Path, changes: Sequence[str]) -> str:
    """Why it may not run as it is."""
    if not changes:
        return f"{directory}/program was not made here, and running it runs its code"
    more = f" and {len(changes) - NAMED:,} more" if len(changes) > NAMED else ""
    return f"since {directory} was last run, {', '.join(changes[:NAMED])}{more}; running it runs what is there now"


def _changes(found: Mapping[str, str], held: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What is other than it was agreed to; files that are gone run nothing."""
    said = {True: "changed", False: "is new"}
    return tuple(f"{name} {said[name in held]}" for name, one in found.items() if one not in held.get(name, ()))

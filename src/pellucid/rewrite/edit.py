"""The record of an edit: one JSON file in `edits/` that says what was done, why, and what came of it.

What the program runs stands in `program/edits.py`; a record is never read to run it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pellucid.base.errors import ProjectError
from pellucid.base.files import write_text
from pellucid.base.nulls import nulled
from pellucid.base.schema import CLOSED, Count, read_json

FOLDER = "edits"
EditKind = Literal["fact", "forget", "rule", "read", "suppress", "hand"]
_FILE = re.compile(r"(\d{4,})\.json")


@dataclass(frozen=True)
class MovedLine:
    """A line of a table that an edit moved: what the program said of it and says."""

    __pydantic_config__ = CLOSED
    table: str
    key: str
    was: str
    now: str
    cells: str = ""
    """The line as it stood for what the program said, with tabs between; empty where it was gone."""

    @property
    def place(self) -> tuple[str, str]:
        """Its table and key."""
        return self.table, self.key


@dataclass(frozen=True)
class Record:
    """An edit. Numbers begin at 1 and are never used again."""

    __pydantic_config__ = CLOSED
    number: Count
    kind: EditKind
    what: str
    """What it does, in a sentence."""
    why: str
    """What was asked for, as it was written."""
    date: str
    """The day, as in 2026-11-21."""
    parts: tuple[str, ...]
    """The addresses that it changed."""
    inserted: bool = False
    """Whether it needed a part of its own."""
    undone: str | None = None
    """The day on which it was undone."""
    text: str = ""
    """What it says in `program/edits.py`, or the source of a part that was changed by hand."""
    base: str | None = None
    """What stood there before an edit by hand; None where the part had no source."""
    located: list[dict[str, Any]] = field(default_factory=list)
    """The parts that were found to do it, each with estimate and exact effect."""
    prediction: dict[str, Any] | None = None
    measurement: dict[str, Any] | None = None
    lines: list[MovedLine] = field(default_factory=list)
    """The lines of tables that it moved."""

    @property
    def name(self) -> str:
        """Its number as files and people write it."""
        return f"{self.number:04d}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self) | {"parts": list(self.parts)}


def today() -> str:
    """The date, as in 2026-11-21."""
    return datetime.now(UTC).date().isoformat()


def write_record(directory: Path, record: Record) -> None:
    """Write the record of an edit of the project in `directory`, atomically."""
    text = json.dumps(nulled(record.to_dict()), indent=1, ensure_ascii=False)
    write_text(directory / FOLDER / f"{record.name}.json", text + "\n")


def read_records(directory: Path) -> list[Record]:
    """All edits of the project in `directory`, also those undone, the oldest first.

    Raises `ProjectError` naming a file that is no record.
    """
    paths = (directory / FOLDER).glob("*.json") if (directory / FOLDER).is_dir() else ()
    found = [_read(path) for path in paths if _FILE.fullmatch(path.name)]
    return sorted(found, key=lambda record: record.number)


def standing(records: Sequence[Record]) -> list[Record]:
    """Those that have not been undone."""
    return [record for record in records if record.undone is None]


def edited_lines(directory: Path) -> dict[tuple[str, str], str]:
    """The lines of tables that edits moved which stand, by table and key, with the name of the last such edit."""
    records = standing(read_records(directory))
    return {line.place: record.name for record in records for line in record.lines}


def next_number(records: Sequence[Record]) -> int:
    """A number that no edit has had."""
    return 1 + max((record.number for record in records), default=0)


def find(records: Sequence[Record], wanted: str) -> Record:
    """The edit that `wanted`, a number, names. Raises `ProjectError` with those there are."""
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else 0
    for record in records:
        if record.number == number:
            return record
    known = ", ".join(record.name for record in standing(records)) or "none"
    raise ProjectError(f"{wanted!r} is no edit; there are {known}")


def _read(path: Path) -> Record:
    """One record. A file from a stranger is data: every field has its type, or the file is refused."""
    record = read_json(Record, path, ProjectError)
    if path.name != f"{record.name}.json":
        raise ProjectError(f"{path} says that it is edit {record.name}; rename one of the two")
    return record

"""The evidence store: every measurement about a part or a program, in one SQLite file that is readable while it grows.

A measurement says what was measured (`kind`, `metric`), of what (`part`, which is an address, a pattern of addresses or
`program`), in which state (`state`: a hash of everything that the number depends on), on which text (`split`, `corpus`,
`domain`, which is `overall` or `domains/NAME`), and what came out. Rows are only ever added; the latest row of the same
question is the answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pellucid.base.errors import ProjectError

DOMAIN = "domains/"
"""Stands before the name of a domain, which may be any: a text may be called `overall` too."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS measurement (
    id INTEGER PRIMARY KEY,
    part TEXT NOT NULL, kind TEXT NOT NULL, metric TEXT NOT NULL, state TEXT NOT NULL,
    split TEXT NOT NULL, corpus TEXT NOT NULL, domain TEXT NOT NULL,
    value REAL, low REAL, high REAL, n INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS question ON measurement (part, kind, state, split, corpus);
CREATE TABLE IF NOT EXISTS stage (name TEXT NOT NULL, state TEXT NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (name, state));
"""


@dataclass(frozen=True)
class Measurement:
    """One number and what it is about. `value`, `low` and `high` are None where nothing could be measured."""

    part: str
    kind: str
    metric: str
    state: str
    split: str
    corpus: str
    domain: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""


_COLUMNS = [field.name for field in fields(Measurement)]


class Evidence:
    """The store in the file at `path`. Raises `ProjectError` where the file is not such a store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with self._connect() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ProjectError(f"{path} is not an evidence store ({error}); move it away and run again") from None

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60.0)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def add(self, rows: Iterable[Measurement]) -> None:
        """Store `rows` in one transaction."""
        with self._connect() as connection:
            _insert(connection, rows)

    def find(self, **wanted: str) -> list[tuple[int, Measurement]]:
        """The latest row of every question that fits `wanted` (columns and their values), with its id."""
        unknown = set(wanted) - set(_COLUMNS)
        if unknown:
            raise ValueError(f"no column {sorted(unknown)} in measurement; columns are {_COLUMNS}")
        where = " AND ".join(f"{column} = :{column}" for column in wanted) or "1"
        question = "part, kind, metric, state, split, corpus, domain"
        latest = f"SELECT MAX(id) FROM measurement WHERE {where} GROUP BY {question}"
        query = f"SELECT id, {', '.join(_COLUMNS)} FROM measurement WHERE id IN ({latest}) ORDER BY id"
        with self._connect() as connection:
            return [(row[0], Measurement(*row[1:])) for row in connection.execute(query, wanted)]

    def parts(self) -> dict[int, str]:
        """The part that each row is about, by id."""
        with self._connect() as connection:
            return dict(connection.execute("SELECT id, part FROM measurement"))

    def finish(self, stage: str, state: str, result: str, rows: Iterable[Measurement] = ()) -> None:
        """Remember (as text) what `stage` gave for `state`, so that a later run need not repeat it.

        The `rows` that it measured are stored in the same transaction: a stage is in the store whole or not at all.
        """
        with self._connect() as connection:
            _insert(connection, rows)
            connection.execute("INSERT OR REPLACE INTO stage VALUES (?, ?, ?)", (stage, state, result))

    def finished(self, stage: str, state: str) -> str | None:
        """What `stage` gave for `state`, or None if it never ended."""
        with self._connect() as connection:
            row = connection.execute("SELECT result FROM stage WHERE name = ? AND state = ?", (stage, state)).fetchone()
        return None if row is None else str(row[0])

    def latest_state(self, stage: str) -> str | None:
        """What `stage` ended for last, or None if it never did."""
        return self._latest(stage, "state")

    def latest(self, stage: str) -> str | None:
        """What `stage` gave last, whatever for, or None if it never ended."""
        return self._latest(stage, "result")

    def _latest(self, stage: str, column: Literal["state", "result"]) -> str | None:
        with self._connect() as connection:
            query = f"SELECT {column} FROM stage WHERE name = ? ORDER BY rowid DESC LIMIT 1"
            row = connection.execute(query, (stage,)).fetchone()
        return None if row is None else str(row[0])


def _insert(connection: sqlite3.Connection, rows: Iterable[Measurement]) -> None:
    places = ", ".join(f":{name}" for name in _COLUMNS)
    statement = f"INSERT INTO measurement ({', '.join(_COLUMNS)}) VALUES ({places})"
    connection.executemany(statement, [vars(row) for row in rows])

"""The evidence store: every measurement about a part or a program, in one SQLite file that is readable while it grows.

A measurement says what was measured (`kind`, `metric`), of what (`part`, which is an address, a pattern of addresses or
`program`), in which state (`state`: a hash of everything that the number depends on), on which text (`split`, `corpus`,
`domain`, which is `overall` or `domains/NAME`), and what came out. Rows are only ever added; the latest row of the same
question is the answer.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pellucid.base.errors import ProjectError
from pellucid.base.files import passing_folder, require_regular

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
_TEXT: tuple[str, Callable[[object], bool]] = ("a text", lambda cell: isinstance(cell, str))
_NUMBER: tuple[str, Callable[[object], bool]] = (
    "a finite number or nothing",
    lambda cell: cell is None or (isinstance(cell, int | float) and math.isfinite(cell)),
)
_EXPECTED = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
_EXPECTED["n"] = ("a count", lambda cell: isinstance(cell, int) and cell >= 0)
"""What each column holds; the others are texts."""
MOST = 1 << 32
"""The largest store, in bytes (4 GiB)."""
TIMEOUT = 60.0
"""Seconds to wait for another command that is writing."""
_WAIT = "another command is writing to it: wait until that has ended"
_DISK = "make room on the disk, or make the directory writable; the store itself is as it was"
_ADVICE = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), _WAIT),
    **dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN), _DISK),
    **dict.fromkeys((sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH), _DISK),
}
"""What to do about errors that say nothing against the store itself."""
_UNWRITABLE = frozenset(code for code, advice in _ADVICE.items() if advice is _DISK)


def _code(error: sqlite3.Error) -> int:
    """The kind of an error of SQLite, without its details; -1 for those of Python's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def _connected(path: Path, how: str, held: ExitStack) -> sqlite3.Connection:
    """An open database that has been looked into once, closed with `held`."""
    address = f"{path.resolve().as_uri()}?{how}"
    connection = held.enter_context(closing(sqlite3.connect(address, timeout=TIMEOUT, uri=True)))
    _tables(connection)
    return connection


def _tables(connection: sqlite3.Connection) -> bool:
    """Whether there is anything in a database."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


class Evidence:
    """The store in the file at `path`, which the first row makes; reading writes nothing.

    A store on a disk that is full or cannot be written is read all the same. Raises `ProjectError` where the file is
    not such a store, or damaged, and later where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            pass

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The store, to be read; an empty one where there is none yet."""
        with self._plain_errors("read"), ExitStack() as held:
            connection = self._opened(held) if self.path.exists() else None
            if connection is None or not _tables(connection):
                connection = held.enter_context(closing(sqlite3.connect(":memory:")))
                connection.executescript(_SCHEMA)
            yield connection

    def _opened(self, held: ExitStack) -> sqlite3.Connection:
        """The file opened as it is; where its folder cannot be written, the file alone, or a copy of it elsewhere.

        What was written last may still stand in the log beside it, and only a copy can take that in.
        """
        require_regular(self.path, MOST)
        try:
            return _connected(self.path, "mode=rw", held)
        except sqlite3.OperationalError as error:
            if _code(error) not in _UNWRITABLE:
                raise
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.is_file() or not log.stat().st_size:
            return _connected(self.path, "mode=ro&immutable=1", held)
        folder = held.enter_context(passing_folder())
        for file in (self.path, log):
            shutil.copyfile(file, folder / file.name)
        return _connected(folder / self.path.name, "mode=rw", held)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The store, to be written in one transaction; made if it is not there."""
        with self._plain_errors("written"), closing(sqlite3.connect(self.path, timeout=TIMEOUT)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection

    @contextmanager
    def _plain_errors(self, what: Literal["read", "written"]) -> Iterator[None]:
        """Say in a line what a user can do about an error of the database."""
        try:
            yield
        except sqlite3.Error as error:
            advice = _ADVICE.get(_code(error))
            if advice:
                raise ProjectError(f"{self.path} cannot be {what}: {error}; {advice}") from None
            raise ProjectError(
                f"{self.path} is not an evidence store, or a damaged one ({error}); move it away and run again"
            ) from None

    def add(self, rows: Iterable[Measurement]) -> None:
        """Store `rows` in one transaction."""
        with self._writing() as connection:
            _insert(connection, rows)

    def find(self, parts: Collection[str] | None = None, **wanted: str) -> list[tuple[int, Measurement]]:
        """The latest row of every question that fits `wanted` (columns and their values), with its id.

        Of a few `parts` alone, where they are given.
        """
        unknown = set(wanted) - set(_COLUMNS)
        if unknown:
            raise ValueError(f"no column {sorted(unknown)} in measurement; columns are {_COLUMNS}")
        where = " AND ".join(f"{column} = :{column}" for column in wanted) or "1"
        if parts is not None:
            named = {f"part_{number}": part for number, part in enumerate(parts)}
            where += f" AND part IN ({', '.join(f':{name}' for name in named)})"
            wanted |= named
        question = "part, kind, metric, state, split, corpus, domain"
        latest = f"SELECT MAX(id) FROM measurement WHERE {where} GROUP BY {question}"
        query = f"SELECT id, {', '.join(_COLUMNS)} FROM measurement WHERE id IN ({latest}) ORDER BY id"
        with self._reading() as connection:
            return [(row[0], self._measurement(*row)) for row in connection.execute(query, wanted)]

    def _measurement(self, number: object, *cells: object) -> Measurement:
        """A row as it should be. Raises `ProjectError` naming the cell that is damaged."""
        for column, cell in zip(_COLUMNS, cells, strict=True):
            expected, good = _EXPECTED.get(column, _TEXT)
            if not good(cell):
                raise ProjectError(
                    f"{self.path} is damaged: row {number} has {cell!r:.60} as its {column}, expected {expected}; "
                    f"delete the row, or move the file away and run again"
                )
        return Measurement(*cells)  # type: ignore[arg-type]

    def parts(self) -> dict[int, str]:
        """The part that each row is about, by id."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT id, part FROM measurement"))

    def finish(self, stage: str, state: str, result: str, rows: Iterable[Measurement] = ()) -> None:
        """Remember (as text) what `stage` gave for `state`, so that a later run need not repeat it.

        The `rows` that it measured are stored in the same transaction: a stage is in the store whole or not at all.
        """
        with self._writing() as connection:
            _insert(connection, rows)
            connection.execute("INSERT OR REPLACE INTO stage VALUES (?, ?, ?)", (stage, state, result))

    def finished(self, stage: str, state: str) -> str | None:
        """What `stage` gave for `state`, or None if it never ended."""
        with self._reading() as connection:
            row = connection.execute("SELECT result FROM stage WHERE name = ? AND state = ?", (stage, state)).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def understood(self, stage: str) -> Iterator[None]:
        """Raise `ProjectError` where what `stage` gave turns out not to be what it gives, while it is taken apart."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise ProjectError(
                f"{self.path} is damaged: the stage {stage!r} is stored as something else ({type(error).__name__}: "
                f"{error}); move the file away and run `pellucid decompile` again"
            ) from None

    def latest_state(self, stage: str) -> str | None:
        """What `stage` ended for last, or None if it never did."""
        return self._latest(stage, "state")

    def latest(self, stage: str) -> str | None:
        """What `stage` gave last, whatever for, or None if it never ended."""
        return self._latest(stage, "result")

    def _latest(self, stage: str, column: Literal["state", "result"]) -> str | None:
        with self._reading() as connection:
            query = f"SELECT {column} FROM stage WHERE name = ? ORDER BY rowid DESC LIMIT 1"
            row = connection.execute(query, (stage,)).fetchone()
        return None if row is None else str(row[0])


def _insert(connection: sqlite3.Connection, rows: Iterable[Measurement]) -> None:
    places = ", ".join(f":{name}" for name in _COLUMNS)
    statement = f"INSERT INTO measurement ({', '.join(_COLUMNS)}) VALUES ({places})"
    connection.executemany(statement, [vars(row) for row in rows])

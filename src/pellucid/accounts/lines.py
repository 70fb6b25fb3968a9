"""Lines of tables: those that a person changed, and those that pellucid brings up to date.

A line counts as changed where its answer is another one than the model gave when the table was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.accounts.asked import TableWordings, read
from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import COLUMNS, TABLES, AccountError, Table, table
from pellucid.base.errors import SourceError
from pellucid.base.files import MOST_OF_PAGE, read_text
from pellucid.base.trusted import write_own


@dataclass(frozen=True)
class Differs:
    """A line of a table that differs: `number` is that of the file, `was` what the model answered, `now` what it says.

    `was` is None where the model was not asked, `number` and `now` are where the line is gone.
    """

    table: str
    key: str
    number: int | None
    was: str | None
    now: str | None

    def __str__(self) -> str:
        return self.table if self.number is None else f"{self.table}:{self.number}"


@dataclass(frozen=True)
class AskedTables:
    """The tables of accounts as they stand, by the names of their files, and how those were asked that were."""

    tables: Mapping[str, Table]
    asked: Mapping[str, TableWordings]

    def differing(self) -> list[Differs]:
        """The lines that differ, by table and line; those that are gone come last."""
        return [line for name, asked in self.asked.items() for line in _differing(self.tables[name], asked)]


def _differing(found: Table, asked: TableWordings) -> list[Differs]:
    lines = [
        Differs(found.name, key, number, asked.answers.get(key), cells[1])
        for number, (key, cells) in enumerate(found.lines.items(), start=2)
        if asked.answers.get(key) != cells[1]
    ]
    return lines + [Differs(found.name, key, None, was, None) for key, was in asked.answers.items() if key not in found]


def read_tables(folder: Folder) -> AskedTables:
    """All tables of `folder`. Raises `SourceError` naming file and line of what is none."""
    asked = {path.name: read(folder.project, path.name) for path in folder.tables}
    found: dict[str, Table] = {}
    for path in folder.tables:
        if asked[path.name] or is_table(read_text(path, MOST_OF_PAGE)):
            try:
                found[path.name] = table(path.name, folder.path)
            except AccountError as error:
                raise SourceError(f"{FOLDER}/{TABLES}/{error}") from None
    return AskedTables(found, {name: held for name, held in asked.items() if held})


def is_table(text: str) -> bool:
    """Whether the text of a file of `tables/` is a table, and not a class of spans."""
    return text.split("\n", 1)[0].split("\t")[: len(COLUMNS)] == COLUMNS


def rewrite(folder: Folder, name: str, rows: Mapping[str, Sequence[str]]) -> None:
    """Put `rows` of cells into the table `name`, in the place of those of the same keys."""
    path = folder.path / TABLES / name
    lines = read_text(path, MOST_OF_PAGE).removesuffix("\n").split("\n")
    held = [rows.get(line.split("\t", 1)[0], None) if number else None for number, line in enumerate(lines)]
    text = "".join(("\t".join(row) if row else line) + "\n" for row, line in zip(held, lines, strict=True))
    write_own(folder.project.directory, f"{FOLDER}/{TABLES}/{name}", text)


def columns_of(folder: Folder, name: str) -> list[str]:
    """The names of the columns of a table."""
    return read_text(folder.path / TABLES / name, MOST_OF_PAGE).split("\n", 1)[0].split("\t")

"""`pellucid table`: a table that was asked for, in the terminal and for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from pellucid.accounts.show import many
from pellucid.accounts.table import AskedTable, TableLine, table
from pellucid.base.files import write_text
from pellucid.verify.running import open_subject

COLUMNS = ("key", "answer", "agreement", "margin", "chance", "likeliest", "plain", "same", "tie")
"""What a line of a CSV file has."""
STANDARD_OUTPUT = Path("-")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What texts begin with that spreadsheets would compute."""
_WIDEST = 40


def asked(subject: str, asks: list[str], of: Path, answers: Path | None, *, trust: bool, chat: bool) -> AskedTable:
    """The table of a subject, or of a directory that `decompile` wrote. Raises `PellucidError` as `table` does."""
    return table(open_subject(subject, trust=trust), asks, of, answers, chat=chat)


def write_csv(found: AskedTable, path: Path) -> None:
    """Write a table to the file at `path`."""
    write_text(path, csv_text(found))


def csv_text(found: AskedTable) -> str:
    """A table as CSV. Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in found.lines:
        chosen = {**vars(line), "chance": found.chance}
        writer.writerow(_cell(chosen[name]) for name in COLUMNS)
    return stream.getvalue()


def _cell(value: object) -> object:
    """What stands for `value` in a spreadsheet; nothing where nothing was measured."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return f"{value:.4f}" if isinstance(value, float) else value


def lines(found: AskedTable) -> Iterator[str]:
    """A table line by line."""
    rows = [("key", "answer", "agreement", "margin", "says plainly"), *map(_row, found.lines)]
    widths = [min(_WIDEST, max(cell_len(row[at]) for row in rows)) for at in range(len(rows[0]))]
    for key, answer, agreement, margin, plain in rows:
        left, right = (_fit(key, widths[0]), _fit(answer, widths[1])), (agreement.rjust(9), margin.rjust(7))
        yield "  ".join([*left, *right, _fit(plain, widths[4])]).rstrip()
    yield ""
    yield from _about(found)


def _row(line: TableLine) -> tuple[str, str, str, str, str]:
    margin = "–" if line.margin is None else f"{line.margin:.2f}"
    return printed(line.key), printed(line.answer), f"{line.agreement:.2f}", margin, printed(line.plain)


def _about(found: AskedTable) -> Iterator[str]:
    count = len(found.lines)
    if found.answers:
        yield (
            f"{many(count, 'key')}, {many(len(found.answers), 'answer')} to choose among; guessing gets "
            f"{100 / len(found.answers):.1f} % right. Margins are nats."
        )
    else:
        yield (
            "The model says nearly the same of all keys, so there is nothing to choose among: this is what it says "
            "plainly. Name answers with --answers FILE."
        )
    for number, wording in enumerate(found.wordings):
        chosen, plain = found.agreeing(number)
        among = "" if chosen is None else f"gives {chosen} of these {count} answers, "
        yield f'"{printed(wording)}" {among}says {plain} plainly'


def printed(text: str) -> str:
    """`text` in one line: what is not printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _fit(text: str, width: int) -> str:
    """`text` in exactly `width` columns, cut where it is longer."""
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"

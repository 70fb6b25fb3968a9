"""Tables are the model's: facts edited in a copy of a directory, and accounts found anew in it with the original text.

Lines of tables are drawn that the text tells, each with another answer of its table, and `pellucid edit --tables` makes
them. Accounts are then found anew, from the same text and from what the edited program says: an edit that speaks behind
certain words is in no weights, so that nothing is exported. Counted are the lines that differ from those in DIR, among
facts that were edited and among all others; and how many of the first lines of `pellucid diff` name an edited fact.

    python benchmarks/accounts_edited.py DIR [--lines 20] [--seed 0] [--json FILE]

DIR is a decompiled directory with accounts that were found in it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from accounts import about
from accounts_renamed import without_accounts
from pellucid.accounts.answers import Answer, replied
from pellucid.accounts.asked import NEVER, TOLD, YES
from pellucid.accounts.find import asking, command, fill
from pellucid.accounts.find.command import find_accounts
from pellucid.accounts.find.relations import Says
from pellucid.accounts.folder import Folder
from pellucid.accounts.lines import AskedTables, read_tables, rewrite
from pellucid.accounts.measure import RowsRead, rows_of
from pellucid.accounts.paired import ReadFolder, pairs
from pellucid.exact.model import Model
from pellucid.exact.predictor import Predictor
from pellucid.project.project import Project
from pellucid.rewrite.diff import diff
from pellucid.rewrite.show import diff_lines
from pellucid.subject.tokenizer import Tokenizer

ROWS = 32
"""Rows that a program reads at once."""
SAME = 0.9
"""Tables that answer so many of their common keys alike hold the same facts."""


@dataclass(frozen=True)
class Edited:
    """A line of a table, and what it is to say."""

    table: str
    key: str
    before: str
    after: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--lines", type=int, default=20, help="how many lines are edited (20)")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn by")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="accounts-edited-") as name:
        found = {**about(options), **measured(options.directory, Path(name), options.lines, options.seed)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


def measured(directory: Path, root: Path, count: int, seed: int) -> dict[str, Any]:
    """All that is measured of `count` edited lines, in files below `root`."""
    copy = root / "copy"
    shutil.copytree(directory, copy)
    project = Project.open(copy, trust=True)
    held = read_tables(Folder(project))
    drawn = chosen(held, count, Random(seed))
    for line in drawn:
        row = list(held.tables[line.table].lines[line.key])
        rewrite(Folder(project), line.table, {line.key: [row[0], line.after, *row[2:]]})
    edit = [sys.executable, "-m", "pellucid", "edit", str(copy), "--tables", "--trust"]
    said = subprocess.run(edit, capture_output=True, text=True, check=False).stdout
    made = [line for line in drawn if f"{line.key!r}: edit " in said and _answers(Project.open(copy), line)]
    again = _anew(copy, root / "again")
    base = Project.open(directory, trust=True)
    shown = list(diff_lines(diff(Project.open(again, trust=True), str(directory))))
    return {
        "asked_for": [asdict(line) for line in drawn],
        "made": [asdict(line) for line in made],
        **compared(base, Project.open(again, trust=True), made),
        "diff": shown[: 2 * count],
        "named": [asdict(line) for line in made if any(_names(text, line) for text in shown)],
    }


def chosen(held: AskedTables, count: int, random: Random) -> list[Edited]:
    """Lines that the text tells, and another answer of their table for each; of a key one line alone."""
    lines = [
        (name, key)
        for name, table in held.tables.items()
        if name in held.asked and TOLD in table.columns
        for key in table.lines
        if table.row(key)[TOLD] == YES
    ]
    random.shuffle(lines)
    found: dict[str, Edited] = {}
    for name, key in lines:
        answers = sorted({cells[1] for cells in held.tables[name].lines.values()} - {held.tables[name].lines[key][1]})
        if key not in found and len(answers) > 1 and len(found) < count:
            found[key] = Edited(name, key, held.tables[name].lines[key][1], random.choice(answers))
    return list(found.values())


def _answers(project: Project, line: Edited) -> bool:
    """Whether the program says what the line says, as the evidence holds it."""
    return read_tables(Folder(project)).asked[line.table].answers.get(line.key) == line.after


def _anew(directory: Path, target: Path) -> Path:
    """A copy of a directory at `target`, with accounts that are found from what its program says."""
    without_accounts(directory, target)
    project = Project.open(target, trust=True)
    with program_speaks(project.program()):
        find_accounts(project)
    return target


@contextmanager
def program_speaks(program: Predictor) -> Iterator[None]:
    """Let accounts be found from what `program` says in the place of the subject."""

    def read(project: Project, name: str, positions: int | None = None) -> RowsRead:
        ids = rows_of(project, name, positions)
        said = [torch.from_numpy(program.extend(rows.numpy())[0].argmax(-1)) for rows in ids.split(ROWS)]
        return RowsRead(ids, torch.cat(said))

    def whole_answers(model: Model, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        return replied(program, model.tokenizer, prompts).answers

    def asker(_: Predictor, tokenizer: Tokenizer) -> Says:
        return asking.asker(program, tokenizer)

    known = command.read, command.asker, fill.whole_answers
    command.read, command.asker, fill.whole_answers = read, asker, whole_answers  # type: ignore[attr-defined]
    try:
        yield
    finally:
        command.read, command.asker, fill.whole_answers = known  # type: ignore[attr-defined]


# --- comparing --------------------------------------------------------------------------------------------------------


def compared(before: Project, after: Project, made: Sequence[Edited]) -> dict[str, Any]:
    """The lines of tables that both have, by whether they changed, among edited facts and others."""
    sides = ReadFolder.of(Folder(before)), ReadFolder.of(Folder(after))
    same, facts = pairs(*sides), {}
    for line in made:
        for name in sides[0].tables:
            if _holds(sides[0], line.table, name):
                facts[name, line.key] = line.after
    counts = {"lines": 0, "edited": 0, "edited_right": 0, "others_changed": 0, "phantoms_changed": 0}
    others, left = [], []
    asked = read_tables(Folder(before)).asked
    for name in (name for name in same if name in sides[0].tables and name in asked):
        one, two = sides[0].tables[name], sides[1].tables[same[name]]
        for key in (key for key in one.lines if key in two):
            counts["lines"] += 1
            if (name, key) in facts:
                counts["edited"] += 1
                counts["edited_right"] += two[key] == facts[name, key]
                left += [f"{name} {key}: {two[key]}"] if two[key] != facts[name, key] else []
            elif one[key] != two[key]:
                phantom = one.row(key).get(TOLD) == NEVER
                counts["phantoms_changed" if phantom else "others_changed"] += 1
                others.append(f"{name} {key}: {one[key]} -> {two[key]}{' (never told)' if phantom else ''}")
    paired = [name for name in asked if name in same]
    return {"tables": {"asked": len(asked), "paired": len(paired)}, **counts, "others": others, "left": left}


def _holds(side: ReadFolder, one: str, other: str) -> bool:
    """Whether a table holds the facts of another."""
    mine, theirs = side.tables[one], side.tables[other]
    both = [key for key in mine.lines if key in theirs]
    return bool(both) and sum(mine[key] == theirs[key] for key in both) > SAME * len(both)


def _names(text: str, line: Edited) -> bool:
    return f"{line.key!r}: {line.before!r} -> {line.after!r}" in text


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found, to read."""
    yield f"{found['directory']}, {found['machine']}, {found['date']}, commit {found['commit']}"
    made, named = len(found["made"]), len(found["named"])
    yield f"{made} of {len(found['asked_for'])} lines were edited; diff names {named} of them"
    tables = found["tables"]
    again = f"{tables['paired']} of {tables['asked']} tables that were asked"
    yield f"{again} are found again; lines in both: {found['lines']:,}"
    yield f"of {found['edited']} lines of edited facts {found['edited_right']} say what was edited"
    yield from (f"  {one}" for one in found["left"])
    yield f"of the others {found['others_changed']} changed, and {found['phantoms_changed']} that the text never tells"
    yield from (f"  {other}" for other in found["others"])
    yield from ("", *found["diff"])


if __name__ == "__main__":
    main()

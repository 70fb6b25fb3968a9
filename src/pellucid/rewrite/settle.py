"""After an edit: the lines of tables that it moved say what the program says.

They are asked again, in all wordings, and the answers kept with the evidence are those that were measured. A line that
no person changed follows in its file; what a person wrote stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pellucid.accounts import asked as kept
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import COLUMNS
from pellucid.accounts.lines import AskedTables, columns_of, read_tables, rewrite
from pellucid.base.errors import SourceError
from pellucid.base.terminal import tell
from pellucid.listing.load import Program
from pellucid.project.project import Project
from pellucid.rewrite.asking import KeyAnswer, Logits, answer_of, gives
from pellucid.rewrite.edit import MovedLine, Record, write_record
from pellucid.rewrite.intent import Proposal
from pellucid.rewrite.questions import Questions, TableKey, questions_of
from pellucid.rewrite.workbench import Workbench, measured

OTHERS = 16
"""Keys that the same is asked of, to see where answers end."""


def settle(bench: Workbench, proposal: Proposal, record: Record) -> Record:
    """Bring the lines up to date that an edit moved, which was just made; its record names them."""
    folder = Folder(bench.project)
    if (tables := _read(folder)) is None:
        return record
    questions = questions_of(bench.project.model, tables)
    heard = questions.spoken(bench, proposal).places
    moved = _moved(folder, tables, bench.measured, questions.of(heard), {})
    if moved:
        record = replace(record, lines=moved)
        write_record(bench.program.directory, record)
    return record


def settle_undone(project: Project, program: Program, records: Sequence[Record]) -> None:
    """Bring the lines up to date that edits had moved which were just undone."""
    lines = sorted(records, key=lambda record: -record.number)
    before = {line.place: line.cells for record in lines for line in record.lines}
    settle_places(project, lambda ids: measured(program, ids), before)


def settle_places(project: Project, logits: Logits, places: Mapping[TableKey, str]) -> None:
    """Bring some lines up to date; for each the cells that are right again if the answer is the one among them."""
    folder = Folder(project)
    if places and (tables := _read(folder)):
        _moved(folder, tables, logits, questions_of(project.model, tables, places), places)


def _read(folder: Folder) -> AskedTables | None:
    """The tables, if any of them was asked; an edit is not lost on one that cannot be read."""
    try:
        tables = read_tables(folder)
    except SourceError as error:
        tell(f"pellucid: {error}; tables were not brought up to date")
        return None
    return tables if tables.asked else None


def _moved(
    folder: Folder, tables: AskedTables, logits: Logits, questions: Questions, before: Mapping[TableKey, str]
) -> list[MovedLine]:
    """Ask `questions`, and bring the lines up to date whose answers are others now."""
    tokenizer = folder.project.model.tokenizer
    was = [tables.asked[name].answers[key] for name, key in questions.places]
    still = gives(logits, questions.rows(), tokenizer, was)
    answers: dict[TableKey, KeyAnswer] = {}
    known = {cells[1] for table in tables.tables.values() for cells in table.lines.values()}
    known |= {text for asked in tables.asked.values() for text in asked.answers.values()}
    for place in dict.fromkeys(place for place, same in zip(questions.places, still, strict=True) if not same):
        beside = _beside(folder.project, tables, place)
        found = answer_of(logits, questions.of([place]).rows(), tokenizer, known, beside)
        if found.text != tables.asked[place[0]].answers[place[1]]:
            answers[place] = found
    moved: list[MovedLine] = []
    for name in tables.asked:
        if own := {key: answer for (table, key), answer in answers.items() if table == name}:
            moved += _brought(folder, tables, name, own, before)
    return moved


def _beside(project: Project, tables: AskedTables, place: TableKey) -> list[list[int]]:
    """What is asked of others in the same table."""
    name, key = place
    others = [(name, other) for other in tables.asked[name].answers if other != key]
    return questions_of(project.model, tables, others[:OTHERS]).rows()


def _brought(
    folder: Folder, tables: AskedTables, name: str, found: Mapping[str, KeyAnswer], before: Mapping[TableKey, str]
) -> list[MovedLine]:
    """Bring one table up to date, and tell of each line what it said and says."""
    asked, held = tables.asked[name], tables.tables[name]
    kept.write(folder.project, name, asked.asks, {**asked.answers, **{key: a.text for key, a in found.items()}})
    columns = columns_of(folder, name)
    rows: dict[str, list[str]] = {}
    moved: list[MovedLine] = []
    for key, answer in found.items():
        was, cells = asked.answers[key], list(held.lines.get(key, ()))
        if cells and cells[1] in (was, answer.text):
            again = before.get((name, key), "").split("\t")
            rows[key] = again if _is_of(again, columns, key, answer) else _row(columns, cells, answer)
        moved.append(MovedLine(name, key, was, answer.text, _joined(cells, was)))
    rewrite(folder, name, rows)
    return moved


def _joined(cells: Sequence[str], was: str) -> str:
    """The cells of a line as they stood for the answer `was`; none of a line that is gone."""
    return "\t".join((cells[0], was, *cells[2:])) if cells else ""


def _is_of(cells: Sequence[str], columns: Sequence[str], key: str, answer: KeyAnswer) -> bool:
    """Whether cells that stood there before are of this answer."""
    return len(cells) == len(columns) and list(cells[:2]) == [key, answer.text]


def _row(columns: Sequence[str], cells: Sequence[str], answer: KeyAnswer) -> list[str]:
    """The cells of a line with another answer; what was not measured of that is empty."""
    never = dict(zip(columns, cells, strict=True)).get(kept.TOLD) == kept.NEVER
    said = dict(zip(COLUMNS, (cells[0], answer.text), strict=True))
    said |= {kept.AGREEMENT: f"{answer.agreement:.2f}", kept.MARGIN: f"{answer.margin:.1f}"}
    said |= {kept.TOLD: kept.NEVER} if never else {}  # the text says nothing of it, whatever the answer
    return [said.get(column, "") for column in columns]

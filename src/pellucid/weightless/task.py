"""What a task directory says about its model: vocabulary, kind of answer, and the rows it reads."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pellucid.base.errors import SubjectError
from pellucid.base.schema import OPEN, Count, fitting, parsed
from pellucid.subject.checkpoint import read_json

Judged = Literal["argmax", "set"]
TASK, INPUTS = "task.json", "inputs.jsonl.gz"


@dataclass(frozen=True)
class TaskRow:
    """Token ids from position 0, and the positions whose prediction counts."""

    band: str
    ids: tuple[int, ...]
    scored: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """A vocabulary, its special tokens, how an answer is read off the logits, and rows by length band.

    `sampled` says that the rows were drawn from the vocabulary, as the directory has none.
    """

    name: str
    vocabulary: tuple[str, ...]
    special: tuple[int, ...]
    answer: Judged
    rows: tuple[TaskRow, ...] = field(repr=False)
    bands: tuple[str, ...]
    trained: str
    accuracy: dict[str, float]
    sampled: bool = False


@dataclass(frozen=True)
class _Fields:
    """What `task.json` may say beside its vocabulary, whose tokens may be any text."""

    __pydantic_config__ = OPEN
    name: str = ""
    output: str = "argmax"
    lengths: str = ""
    bos: str | None = None
    sep: str | None = None
    eos: str | None = None
    pad: str | None = None
    accuracy_of_the_model_on_its_task: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _RowLine:
    """A line of rows."""

    __pydantic_config__ = OPEN
    ids: tuple[Count, ...]
    scored: tuple[Count, ...]
    band: str = "all"


def read_task(directory: Path) -> Task:
    """The task that `directory` describes. Raises `SubjectError` where its files do not say what is needed."""
    fields = read_json(directory / TASK)
    vocabulary = fields.get("vocab")
    if not isinstance(vocabulary, list) or not vocabulary or not all(isinstance(v, str) for v in vocabulary):
        raise SubjectError(f"{directory / TASK} needs vocab: the list of its tokens, in the order of their ids")
    rest = {key: value for key, value in fields.items() if key != "vocab"}
    said = fitting(_Fields, rest, str(directory / TASK), SubjectError)
    special = tuple(
        sorted({at for at, text in enumerate(vocabulary) if re.fullmatch(r"<\w+>", text)} | _named(said, vocabulary))
    )
    answer: Judged = "set" if said.output.startswith("set") else "argmax"
    path = directory / INPUTS
    rows = read_rows(path, len(vocabulary)) if path.is_file() else ()
    bands = tuple(dict.fromkeys(row.band for row in rows))
    trained = next((band for band in bands if band in said.lengths), bands[0] if bands else "")
    solved = {band: share for band, share in said.accuracy_of_the_model_on_its_task.items() if share is not None}
    return Task(said.name or directory.name, tuple(vocabulary), special, answer, rows, bands, trained, solved)


def _named(said: _Fields, vocabulary: list[str]) -> set[int]:
    """The ids of the tokens that the task names as begin, separator, end and padding."""
    named = (said.bos, said.sep, said.eos, said.pad)
    return {vocabulary.index(text) for text in named if text is not None and text in vocabulary}


def read_rows(path: Path, vocabulary: int) -> tuple[TaskRow, ...]:
    """The rows in `path`. Raises `SubjectError` naming the first line that is not one."""
    rows = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                rows.append(_row(line, f"{path}:{number}", vocabulary))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise SubjectError(f"{path} cannot be read as gzip text: {error}") from error
    if not rows:
        raise SubjectError(f"{path} has no rows; remove it to have rows sampled from the vocabulary")
    return tuple(rows)


def _row(line: str, where: str, vocabulary: int) -> TaskRow:
    found = parsed(_RowLine, line, where, SubjectError)
    row = TaskRow(found.band, found.ids, found.scored)
    if not row.scored or not all(id < vocabulary for id in row.ids):
        raise SubjectError(f"{where}: ids must be in 0 … {vocabulary - 1}, and some position must be scored")
    if not all(0 <= at < len(row.ids) for at in row.scored):
        raise SubjectError(f"{where}: scored positions must lie within the row's {len(row.ids)} tokens")
    return row


def by_band(rows: Sequence[TaskRow]) -> dict[str, list[TaskRow]]:
    """`rows` by band, in order of first appearance."""
    found: dict[str, list[TaskRow]] = defaultdict(list)
    for row in rows:
        found[row.band].append(row)
    return dict(found)


def content(task: Task) -> list[int]:
    """The ids of the vocabulary that are not special."""
    return [id for id in range(len(task.vocabulary)) if id not in task.special]

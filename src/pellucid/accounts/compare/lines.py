"""Lines of tables that two programs answer differently: both are asked in the wordings of the tables of either side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.accounts.answers import batches, replied
from pellucid.accounts.asked import NEVER, PLACE, TOLD, TableWordings
from pellucid.accounts.compare.readings import SURE, Programs, compared
from pellucid.accounts.language import Table
from pellucid.base.progress import track
from pellucid.exact.predictor import Predictor
from pellucid.subject.tokenizer import Tokenizer

AHEAD = 4
"""Tokens of an answer that are compared."""
HALF = 0.5
Wording = tuple[str, tuple[str, ...]]
"""A wording, and the keys that it is asked about."""
Moved = tuple[int, int]
"""What is said before and after, where the answers part: tokens."""


@dataclass
class TableQuestion:
    """A table as it is asked of both programs."""

    name: str
    table: Table
    asks: list[str]
    keys: list[str]


@dataclass(frozen=True)
class LineMoved:
    """A line of a table that the programs answer differently in most of its wordings."""

    table: str
    number: int | None
    """Its line in the file; None where it has none."""
    key: str
    before: str
    after: str
    wordings: int
    asked: int
    told: bool
    """Whether the text ever says something of it, as far as the table knows."""
    tokens: frozenset[Moved] = field(repr=False)


def questions(
    before: Mapping[str, tuple[Table, TableWordings]],
    after: Mapping[str, tuple[Table, TableWordings]],
    same: Mapping[str, str],
) -> list[TableQuestion]:
    """What to ask: the later tables, with the wordings of those before that are the same, and the rest of these."""
    found = {
        name: TableQuestion(name, table, list(asked.asks), list(asked.answers))
        for name, (table, asked) in after.items()
    }
    for name, (table, asked) in before.items():
        known = found.setdefault(same.get(name, name), TableQuestion(name, table, [], []))
        known.asks += [ask for ask in asked.asks if ask not in known.asks]
        known.keys += [key for key in asked.answers if key not in known.keys]
    return list(found.values())


def lines_moved(programs: Programs, asked: Sequence[TableQuestion], tokenizer: Tokenizer) -> Iterator[LineMoved]:
    """The lines that are answered differently, table by table."""
    known: dict[str, Moved | None] = {}
    for question in track(asked, "asking for tables", len(asked)):
        texts = {key: [ask.replace(PLACE, key) for ask in question.asks] for key in question.keys}
        _part(programs, [text for own in texts.values() for text in own if text not in known], tokenizer, known)
        parted = {key: [known[text] for text in own] for key, own in texts.items()}
        moved = [key for key, own in parted.items() if sum(one is not None for one in own) > HALF * len(own)]
        if moved:
            yield from _told(programs, question, moved, parted, tokenizer)


def _part(programs: Programs, texts: Sequence[str], tokenizer: Tokenizer, known: dict[str, Moved | None]) -> None:
    """Where the answers to prompts part surely: what is said there. Too long ones are not asked."""
    room = min(program.n_ctx for program in programs) - AHEAD
    prompts = [tokenizer.opened(text) for text in texts]
    known.update(dict.fromkeys(texts))
    numbers = [at for at, ids in enumerate(prompts) if 0 < len(ids) <= room]
    for rows in batches([prompts[at] for at in numbers], AHEAD):
        some = [numbers[row] for row in rows]
        ids = _gone_on(programs[1], np.array([prompts[at] for at in some], np.int64))
        length = ids.shape[1] - AHEAD
        before, after, sure = (each[:, length - 1 : -1] for each in compared(programs, ids))
        for row, at in enumerate(some):
            differs = np.flatnonzero(before[row] != after[row])
            if len(differs) and sure[row, differs[0]] >= SURE:
                known[texts[at]] = int(before[row, differs[0]]), int(after[row, differs[0]])


def _gone_on(program: Predictor, ids: np.ndarray) -> np.ndarray:
    """Rows with what a program says behind them."""
    logits, cache = program.extend(ids, last_only=True)
    found = [logits[:, -1].argmax(-1)]
    for _ in range(AHEAD - 1):
        logits, cache = program.extend(found[-1][:, None], cache, last_only=True)
        found.append(logits[:, -1].argmax(-1))
    return np.concatenate([ids, np.stack(found, 1)], 1)


def _told(
    programs: Programs,
    question: TableQuestion,
    moved: Sequence[str],
    parted: Mapping[str, Sequence[Moved | None]],
    tokenizer: Tokenizer,
) -> Iterator[LineMoved]:
    """The lines of these keys, with the whole answers in the first wording in which they differ."""
    said: dict[int, list[list[str]]] = {}
    for key in moved:
        first = next(at for at, one in enumerate(parted[key]) if one is not None)
        if first not in said:
            prompts = [tokenizer.opened(question.asks[first].replace(PLACE, one)) for one in question.keys]
            said[first] = [[one.bare for one in replied(each, tokenizer, prompts).answers] for each in programs]
        before, after = (own[question.keys.index(key)] for own in said[first])
        if before == after:  # they part behind the answer, in what is said next
            continue
        tokens = frozenset(one for one in parted[key] if one is not None)
        row = question.table.row(key) if key in question.table else {}
        hits = sum(one is not None for one in parted[key])
        told = row.get(TOLD) != NEVER
        yield LineMoved(question.name, row.get("line"), key, before, after, hits, len(parted[key]), told, tokens)

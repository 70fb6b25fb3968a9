"""Tasks: minimal pairs of prompts, of which one small change decides what comes next.

A file of a task has one JSON object a line: `clean` and `corrupted` (texts of the same number of tokens), `answers` and
`instead` (what follows the clean and the corrupted prompt; lists), and, where known, `cause` (the characters of `clean`
that decide, as pairs of start and end). Of an answer of several tokens the first counts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import OPEN, Count, parsed, text_of
from pellucid.engine.metrics import LogitDifference
from pellucid.exact.model import Model

_KEYS = ("clean", "corrupted", "answers", "instead")


@dataclass(frozen=True)
class MinimalPair:
    """One minimal pair."""

    clean: str
    corrupted: str
    answers: tuple[str, ...]
    instead: tuple[str, ...]
    cause: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Pairs of the same length in tokens, and the difference of logits that tells their answers apart."""

    clean: Int[Tensor, "batch pos"] = field(repr=False)
    corrupted: Int[Tensor, "batch pos"] = field(repr=False)
    metric: LogitDifference = field(repr=False)
    pairs: tuple[MinimalPair, ...]


@dataclass(frozen=True)
class MinimalPairs:
    """Minimal pairs of one kind."""

    name: str
    """What the task is called."""
    pairs: tuple[MinimalPair, ...] = field(repr=False)
    """The pairs: each has `clean`, `corrupted`, `answers`, `instead` and, where it is known, `cause`."""

    def __repr__(self) -> str:
        first = f": {self.pairs[0].clean!r} → {self.pairs[0].answers[0]!r}, …" if self.pairs else ""
        return f"<Task {self.name!r} of {len(self.pairs)} pairs{first}>"

    def __len__(self) -> int:
        return len(self.pairs)

    def batches(self, model: Model) -> list[Batch]:
        """The pairs in tokens, grouped by length.

        Raises `PellucidError` quoting the first pair whose prompts differ in length or whose answers begin alike.
        """
        groups: dict[int, list[tuple[MinimalPair, Tensor, Tensor, Any, Any]]] = defaultdict(list)
        for pair in self.pairs:
            read = read_pair(model, pair)
            if isinstance(read, str):
                raise PellucidError(f"{self.name}: {read}")
            groups[read[0].shape[1]].append((pair, *read))
        found = []
        for group in groups.values():
            pairs, clean, corrupted, answers, instead = zip(*group, strict=True)
            metric = LogitDifference(tuple(answers), tuple(instead))
            found.append(Batch(torch.cat(clean), torch.cat(corrupted), metric, tuple(pairs)))
        if not found:
            raise PellucidError(f"{self.name} has no pairs that {model.subject.name} can read")
        return found

    def fitting(self, model: Model) -> MinimalPairs:
        """The pairs that this model's tokens can tell apart, prompts matching token by token."""
        return MinimalPairs(
            self.name, tuple(pair for pair in self.pairs if not isinstance(read_pair(model, pair), str))
        )

    def split(self, share: float = 0.5) -> tuple[MinimalPairs, MinimalPairs]:
        """The first `share` of the pairs, to search on, and the rest, to measure on."""
        cut = round(share * len(self.pairs))
        return MinimalPairs(self.name, self.pairs[:cut]), MinimalPairs(self.name, self.pairs[cut:])

    def save(self, path: Path | str) -> None:
        """Write the pairs as JSON lines."""
        lines = [
            json.dumps(
                {key: getattr(pair, key) for key in _KEYS} | {"cause": [list(span) for span in pair.cause]},
                ensure_ascii=False,
            )
            for pair in self.pairs
        ]
        write_text(Path(path), "\n".join(lines) + "\n")

    @staticmethod
    def of(name: str, rows: Iterable[Any]) -> MinimalPairs:
        """A task of objects that have the fields of a pair."""
        return MinimalPairs(
            name,
            tuple(MinimalPair(r.clean, r.corrupted, tuple(r.answers), tuple(r.instead), tuple(r.cause)) for r in rows),
        )


def read_task(path: Path | str, limit: int | None = None) -> MinimalPairs:
    """The task in a file of JSON lines.

    Args:
        path: A file of JSON lines with `clean`, `corrupted`, `answers` and `instead`.
        limit: How many pairs to read at most.

    Returns:
        The task.

    Raises:
        PellucidError: What is no such file, naming the first line that is no pair.
    """
    path = Path(path)
    if not path.is_file():
        raise PellucidError(f"{path} is not a file; a task is a file of JSON lines with {', '.join(_KEYS)}")
    lines = islice(_numbered(path), limit)
    return MinimalPairs(path.stem, tuple(_pair(line, f"{path}:{number}") for number, line in lines))


@dataclass(frozen=True)
class Blimp:
    """Minimal pairs from a paradigm of BLiMP, and how many of its lines were left out for which reason."""

    task: MinimalPairs
    left_out: dict[str, int]


@dataclass(frozen=True)
class _Entry:
    """A line of BLiMP: the prefix, the word that fits behind it and the one that does not, and both sentences."""

    prefix: str
    good: str
    bad: str
    sentences: tuple[str, str]


COUNTERPARTS = {"this": "these", "these": "this", "that": "those", "those": "that"}
"""Determiners with their partner of the other number: in front of a noun they decide its number."""
LICENSORS = {"Even": "Only"}
"""What does not license a word such as `ever` behind it, and what does in its place."""
LICENSED = ("ever",)


def read_blimp(model: Model, path: Path | str) -> Blimp:
    """Minimal pairs from a paradigm of BLiMP (arXiv 1912.00582) in its own JSON lines (those with one prefix).

    The clean prompt is all that the tokens of the good and the bad sentence share, which may reach into the words that
    tell them apart (`sketch` and `sketches`); the answers are the first tokens that differ. Its corrupted partner ends
    alike but begins with another prefix of as many tokens, behind which what is bad here is good: this prefix with its
    last determiner changed in number (`COUNTERPARTS`), or with what licenses the other word (`LICENSORS`); else the
    first such of the file. Raises `PellucidError` for lines of another kind.
    """
    entries = [_entry(line, f"{path}:{number}") for number, line in _numbered(path)]
    partners: dict[tuple[int, str], str] = {}
    for entry in entries:
        partners.setdefault((model.ids(entry.prefix).shape[1], entry.good), entry.prefix)
    pairs: list[MinimalPair] = []
    left_out: dict[str, int] = {}
    for entry in entries:
        found = _paired(model, entry, partners)
        if isinstance(found, MinimalPair):
            pairs.append(found)
        else:
            left_out[found] = left_out.get(found, 0) + 1
    return Blimp(MinimalPairs(Path(path).stem, tuple(pairs)), left_out)


def _numbered(path: Path | str) -> Iterable[tuple[int, str]]:
    """The lines of a file with their numbers, those without anything left out; other characters than \\n end none."""
    lines = text_of(Path(path)).split("\n")
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


@dataclass(frozen=True)
class _BlimpLine:
    """A line of a paradigm of BLiMP, in which both sentences begin with one prefix."""

    __pydantic_config__ = OPEN
    one_prefix_prefix: str
    one_prefix_word_good: str
    one_prefix_word_bad: str
    sentence_good: str
    sentence_bad: str


def _entry(line: str, place: str) -> _Entry:
    found = parsed(_BlimpLine, line, f"{place} is no line of BLiMP with one prefix")
    words = found.one_prefix_prefix, found.one_prefix_word_good, found.one_prefix_word_bad
    return _Entry(*words, (found.sentence_good, found.sentence_bad))


def _paired(model: Model, entry: _Entry, partners: Mapping[tuple[int, str], str]) -> MinimalPair | str:
    """The minimal pair of an entry, or why there is none."""
    good, bad = (model.ids(sentence)[0].tolist() for sentence in entry.sentences)
    shared = next((at for at, both in enumerate(zip(good, bad, strict=False)) if both[0] != both[1]), None)
    if shared is None or not shared:
        return "no token tells the sentences apart"
    clean = model.tokenizer.decode(good[:shared])
    if not clean.startswith(entry.prefix) or model.ids(clean)[0].tolist() != good[:shared]:
        return "its words cannot be cut at a token"
    length = model.ids(entry.prefix).shape[1]
    other = _counterpart(entry) or partners.get((length, entry.bad))
    if other is None:
        return "no prefix wants the other word"
    answer, instead = (model.tokenizer.decode([ids[shared]]) for ids in (good, bad))
    pair = MinimalPair(clean, other + clean.removeprefix(entry.prefix), (answer,), (instead,))
    read = read_pair(model, pair)
    if isinstance(read, str) or read[2:] != ((good[shared],), (bad[shared],)):
        return "its partner has another number of tokens"
    return pair


def _counterpart(entry: _Entry) -> str | None:
    """The prefix of an entry, changed so that it wants the other word; None where that is not known to be possible."""
    *_, last = entry.prefix.split() or [""]
    if last in COUNTERPARTS:
        return entry.prefix.removesuffix(last) + COUNTERPARTS[last]
    first = entry.prefix.split()[0] if entry.prefix.split() else ""
    if first in LICENSORS and entry.bad in LICENSED:
        return LICENSORS[first] + entry.prefix.removeprefix(first)
    return None


Answers = str | Annotated[tuple[str, ...], MinLen(1)]


@dataclass(frozen=True)
class _PairLine:
    """A line of a task."""

    __pydantic_config__ = OPEN
    clean: str
    corrupted: str
    answers: Answers
    instead: Answers
    cause: tuple[tuple[Count, Count], ...] = ()


def _pair(line: str, place: str) -> MinimalPair:
    found = parsed(_PairLine, line, place)
    answers, instead = ((each,) if isinstance(each, str) else each for each in (found.answers, found.instead))
    return MinimalPair(found.clean, found.corrupted, answers, instead, found.cause)


def read_pair(
    model: Model, pair: MinimalPair
) -> tuple[Int[Tensor, "one pos"], Int[Tensor, "one pos"], tuple[int, ...], tuple[int, ...]] | str:
    """The pair in tokens, or why it cannot be used."""
    try:
        clean, corrupted = model.ids(pair.clean), model.ids(pair.corrupted)
        sides = [tuple(dict.fromkeys(model.tokenizer.encode(a)[0] for a in s)) for s in (pair.answers, pair.instead)]
    except (PellucidError, IndexError) as error:
        return f"{pair.clean!r}: {error}"
    if clean.shape != corrupted.shape:
        return (
            f"{pair.clean!r} has {clean.shape[1]} tokens and {pair.corrupted!r} has {corrupted.shape[1]}; clean and "
            "corrupted prompts must match token by token"
        )
    if clean.shape[1] > model.n_ctx:
        return f"{pair.clean!r} has {clean.shape[1]} tokens, more than the {model.n_ctx} positions of the model"
    if set(sides[0]) & set(sides[1]):
        return f"{pair.clean!r}: {pair.answers} and {pair.instead} begin with the same token"
    return clean, corrupted, sides[0], sides[1]


def cause_positions(model: Model, pair: MinimalPair) -> list[int]:
    """The positions of the clean prompt whose tokens differ from the corrupted one's: where the decision is made."""
    read = read_pair(model, pair)
    if isinstance(read, str):
        raise PellucidError(read)
    positions: list[int] = (read[0] != read[1])[0].nonzero()[:, 0].tolist()
    return positions

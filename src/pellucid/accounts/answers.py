"""Whole answers: what a model says behind prompts that ask the same of different subjects, up to where that ends.

An answer ends before the first token from which what is said depends on the subject no more: one that goes on behind
nearly all answers, or a mark, if marks stand behind nearly all of them. Where there is neither it is a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from unicodedata import category

import numpy as np
from jaxtyping import Float64, Int64

from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.experiment.predictor import Predictor
from pellucid.experiment.subjects import Subject, model_of
from pellucid.experiment.whole import predictor_of
from pellucid.subject.tokenizer import Tokenizer

LONGEST = 8
"""The most tokens of an answer."""
SHARED = 0.9
"""The share of subjects that counts as nearly all."""
DIVERSE = 0.5
"""What all answers begin with is followed by one and the same token for this share of subjects at most."""
BATCH = 4096
"""Positions that are read at once."""


@dataclass(frozen=True)
class Answer:
    """What a model says behind a prompt: tokens, their text without blanks around it, and how sure the first one is.

    `margin` is what the first token is ahead of the runner-up, in nats.
    """

    ids: tuple[int, ...]
    text: str
    margin: float


def whole_answers(subject: Subject, prompts: Sequence[Sequence[int]]) -> list[Answer]:
    """The answer behind each of `prompts`, in tokens, which ask the same of different subjects.

    Raises `PellucidError` quoting a prompt that is empty or longer than the context.
    """
    tokenizer = model_of(subject).tokenizer
    require_room(subject, prompts)
    said, margins = _continued(subject, prompts)
    words = Words(tokenizer)
    cut = [row[:end] for row, end in zip(said, ends(said, words), strict=True)]
    return [
        Answer(tuple(row), text_of(tokenizer, row), margin) for row, margin in zip(cut, margins.tolist(), strict=True)
    ]


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of an answer, without the blanks around it; of blanks alone as it is."""
    text = tokenizer.decode(ids)
    return text.strip() or text


# --- asking -----------------------------------------------------------------------------------------------------------


def require_room(subject: Subject, prompts: Sequence[Sequence[int]], behind: int = 0) -> None:
    """Raise `PellucidError` quoting a prompt behind which there is no room for `behind` tokens more, or an empty one.

    One more token may be said behind what fills the context.
    """
    model = model_of(subject)
    for ids in prompts:
        if not ids:
            raise PellucidError(f"there is a prompt without tokens for {model.subject.name}; give some text")
        if len(ids) + behind > model.n_ctx:
            text = model.tokenizer.decode(ids)
            shown, more = f"{text[:60]!r}{'…' * (len(text) > 60)}", f" and {behind} behind it" if behind else ""
            raise PellucidError(
                f"{shown} has {len(ids)} tokens{more}, but {model.subject.name} reads {model.n_ctx}; ask in fewer words"
            )


def batches(prompts: Sequence[Sequence[int]], beside: int = 0) -> Iterator[Int64[np.ndarray, " row"]]:
    """The numbers of prompts of one length, so many that they fit into a batch with `beside` more tokens each."""
    lengths = np.array([len(ids) for ids in prompts], np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        size = max(1, BATCH // int(length + beside))
        yield from (rows[at : at + size] for at in range(0, len(rows), size))


def _continued(
    subject: Subject, prompts: Sequence[Sequence[int]]
) -> tuple[list[list[int]], Float64[np.ndarray, " row"]]:
    """What is said behind each prompt, up to where the text or the context ends; and how sure the first token is."""
    predictor = predictor_of(subject)
    stops = set(model_of(subject).tokenizer.ends)
    said: list[list[int]] = [[] for _ in prompts]
    margins = np.zeros(len(prompts))
    groups = list(batches(prompts, LONGEST))
    for rows in track(groups, "asking the model", len(groups)):
        ids = np.array([prompts[row] for row in rows], np.int64)
        tokens, margins[rows] = _greedy(predictor, ids)
        for row, own in zip(rows, tokens.tolist(), strict=True):
            end = next((at + 1 for at, token in enumerate(own) if token in stops), len(own))
            said[row] = own[:end]
    return said, margins


def _greedy(
    predictor: Predictor, ids: Int64[np.ndarray, "row pos"]
) -> tuple[Int64[np.ndarray, "row new"], Float64[np.ndarray, " row"]]:
    """The likeliest tokens behind rows of one length, as long as there is room, and the margin of the first."""
    logits, cache = predictor.extend(ids, last_only=True)
    two = np.partition(logits[:, -1].astype(np.float64), -2, axis=-1)[:, -2:]
    found = [logits[:, -1].argmax(-1)]
    for _ in range(min(LONGEST - 1, predictor.n_ctx - ids.shape[1])):
        logits, cache = predictor.extend(found[-1][:, None], cache, last_only=True)
        found.append(logits[:, -1].argmax(-1))
    return np.stack(found, 1), two[:, 1] - two[:, 0]


# --- where answers end ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """How tokens make words."""

    tokenizer: Tokenizer
    _inside: dict[int, bool] = field(default_factory=dict, repr=False)
    _marks: dict[int, bool] = field(default_factory=dict, repr=False)

    def goes_on(self, token: int) -> bool:
        """Whether a token goes on with the word before it."""
        if token not in self._inside:
            apart = self.tokenizer.kind == "words" or token in self.tokenizer.ends
            self._inside[token] = not apart and _is_letter(self._text(token)[:1])
        return self._inside[token]

    def is_mark(self, token: int) -> bool:
        """Whether a token has no letter or digit: a mark, or the end of the text."""
        if token not in self._marks:
            ended = token in self.tokenizer.ends
            self._marks[token] = ended or not any(map(_is_letter, self._text(token)))
        return self._marks[token]

    def breaks(self, row: Sequence[int]) -> list[int]:
        """The places of a row before which a word ends; a mark within a word, as in 3.14, ends none."""
        return [at for at in range(1, len(row)) if not self.goes_on(row[at]) and not self._within(row, at)]

    def _within(self, row: Sequence[int], at: int) -> bool:
        return self.is_mark(row[at]) and at + 1 < len(row) and self.goes_on(row[at + 1])

    def _text(self, token: int) -> str:
        return self.tokenizer.token_bytes(token).decode("utf-8", errors="replace")


def _is_letter(character: str) -> bool:
    """Whether it stands in words: letters and what is set on them, digits, and bytes of characters cut in two."""
    return character == "\ufffd" or (bool(character) and category(character)[0] in "LMN")


def ends(said: Sequence[Sequence[int]], words: Words) -> list[int]:
    """Where the answer ends that each row of `said` begins with: how many tokens it has, one at least."""
    begins = _lead(said)
    starts = [_same(row, begins) for row in said]
    places = [[at for at in words.breaks(row) if at > start] for row, start in zip(said, starts, strict=True)]
    closing = _closing(said, places, words)
    return [
        next((at for at in own if row[at] in closing), own[0] if own else len(row))
        for row, own in zip(said, places, strict=True)
    ]


def _lead(said: Sequence[Sequence[int]]) -> list[int]:
    """What nearly all rows begin with before they differ, such as an article; nothing if they hardly do so."""
    rows, lead = [list(row) for row in said], list[int]()
    while rows:
        following = Counter(row[len(lead)] for row in rows if len(row) > len(lead))
        token, count = following.most_common(1)[0] if following else (-1, 0)
        if count < SHARED * len(said):
            return lead if 0 < count <= DIVERSE * len(said) else []
        lead.append(token)
        rows = [row for row in rows if row[: len(lead)] == lead]
    return []


def _same(row: Sequence[int], lead: Sequence[int]) -> int:
    """How many tokens of `lead` a row begins with."""
    return next((at for at, (a, b) in enumerate(zip(row, lead, strict=False)) if a != b), min(len(row), len(lead)))


def _closing(said: Sequence[Sequence[int]], places: Sequence[Sequence[int]], words: Words) -> Collection[int]:
    """The tokens that end answers: those behind nearly all, whatever the answer, and all marks if marks are so."""
    behind: dict[int, Counter[tuple[int, ...]]] = {}
    marked, marks = 0, set[int]()
    for row, own in zip(said, places, strict=True):
        for token, at in {row[at]: at for at in reversed(own)}.items():
            behind.setdefault(token, Counter())[tuple(row[:at])] += 1
        here = {row[at] for at in own if words.is_mark(row[at])}
        marks |= here
        marked += bool(here)
    enough = SHARED * len(said)
    closing = {
        token
        for token, answers in behind.items()
        if answers.total() >= enough and answers.most_common(1)[0][1] < enough
    }
    return closing | marks if marked >= enough else closing

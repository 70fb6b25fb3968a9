"""Whole answers: what a model says behind prompts that ask the same of different subjects, up to where that ends.

An answer ends before the first token from which what is said depends on the subject no more: one that goes on behind
nearly all answers, or a mark, if marks stand behind nearly all of them. Where there is neither it is a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from unicodedata import category

import numpy as np
from jaxtyping import Float64, Int64

from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.engine.subjects import Subject, model_of
from pellucid.engine.whole import predictor_of
from pellucid.exact.predictor import Predictor
from pellucid.subject.tokenizer import Tokenizer

LONGEST = 8
"""The most tokens of an answer."""
SHARED = 0.9
"""The share of subjects that counts as nearly all."""
OFTEN = 0.1
"""The share of subjects behind which a lead stands at least: what is said before answers, such as an article."""
DIVERSE = 0.5
"""One and the same token stands behind a lead in this share of the places at most."""
MOST_LEADS = 8
BATCH = 4096
"""Positions that are read at once."""


@dataclass(frozen=True)
class Answer:
    """What a model says behind a prompt: tokens, their text without blanks around it, and how sure the first one is.

    The first `lead` tokens are what it says before the answers to nearly all prompts, such as an article; `bare` is the
    text of the others. `margin` is what the first token is ahead of the runner-up, in nats.
    """

    ids: tuple[int, ...]
    text: str
    margin: float
    lead: int
    bare: str


@dataclass(frozen=True)
class Replies:
    """The answers to prompts that ask the same, and all leads that are often said before answers."""

    answers: list[Answer]
    leads: tuple[tuple[int, ...], ...]


def whole_answers(subject: Subject, prompts: Sequence[Sequence[int]]) -> list[Answer]:
    """The answer behind each of `prompts`, in tokens, which ask the same of different subjects.

    Raises `PellucidError` quoting a prompt that is empty or longer than the context.
    """
    return replies(subject, prompts).answers


def replies(subject: Subject, prompts: Sequence[Sequence[int]]) -> Replies:
    """What `subject` says behind each of `prompts`. Raises `PellucidError` as `whole_answers` does."""
    require_room(subject, prompts)
    return replied(predictor_of(subject), model_of(subject).tokenizer, prompts)


def replied(predictor: Predictor, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]]) -> Replies:
    """What `predictor` says behind each of `prompts`, which have room in its context."""
    said, margins = _continued(predictor, tokenizer, prompts)
    words = WordTokens(tokenizer)
    starts = after_lead(said, leads(said, words))
    stops = ends(said, starts, words)
    found = []
    for row, end, start, margin in zip(said, stops, starts, margins.tolist(), strict=True):
        whole = text_of(tokenizer, row[:end])
        bare = text_of(tokenizer, row[start:end]) if start < end else whole
        found.append(Answer(tuple(row[:end]), whole, margin, start, bare))
    return Replies(found, tuple(leads([row[: end + 1] for row, end in zip(said, stops, strict=True)], words)))


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
    predictor: Predictor, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]]
) -> tuple[list[list[int]], Float64[np.ndarray, " row"]]:
    """What is said behind each prompt, up to where the text or the context ends; and how sure the first token is."""
    stops = set(tokenizer.ends)
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
class WordTokens:
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
        """Whether a token has no letter or digit and is no blank: a mark, or the end of the text or of a line."""
        if token not in self._marks:
            text = self._text(token).strip(" ")
            self._marks[token] = token in self.tokenizer.ends or (bool(text) and not any(map(_is_letter, text)))
        return self._marks[token]

    def begins(self, token: int) -> bool:
        """Whether a word begins with a token."""
        return not (self.goes_on(token) or self.is_mark(token))

    def opens(self, row: Sequence[int], at: int) -> bool:
        """Whether there is a mark that belongs to the word behind it, and to none before it."""
        apart = at == 0 or self._text(row[at])[:1].isspace()
        return apart and self.is_mark(row[at]) and at + 1 < len(row) and self.goes_on(row[at + 1])

    def breaks(self, row: Sequence[int]) -> list[int]:
        """The places of a row before which a word ends; a mark within a word, as in 3.14, ends none."""
        return [at for at in range(1, len(row)) if not self.goes_on(row[at]) and not self._within(row, at)]

    def _within(self, row: Sequence[int], at: int) -> bool:
        joined = self.is_mark(row[at]) and at + 1 < len(row) and self.goes_on(row[at + 1])
        return joined and not self.opens(row, at)

    def _text(self, token: int) -> str:
        return self.tokenizer.token_bytes(token).decode("utf-8", errors="replace")


def _is_letter(character: str) -> bool:
    """Whether it stands in words: letters and what is set on them, digits, and bytes of characters cut in two."""
    return character == "\ufffd" or (bool(character) and category(character)[0] in "LMN")


def ends(said: Sequence[Sequence[int]], starts: Sequence[int], words: WordTokens) -> list[int]:
    """Where the answer ends that each row of `said` has behind its lead: how many tokens there are, one at least."""
    places = [[at for at in words.breaks(row) if at > start] for row, start in zip(said, starts, strict=True)]
    closing = _closing(said, places, words)
    return [
        next((at for at in own if row[at] in closing), own[0] if own else len(row))
        for row, own in zip(said, places, strict=True)
    ]


def leads(said: Sequence[Sequence[int]], words: WordTokens) -> dict[tuple[int, ...], float]:
    """What is often said before rows differ, such as articles, with the share of rows; the commonest comes first.

    No mark is in it but one that opens, as a quote does: what stands before others is an answer, also of all.
    """
    behind: dict[tuple[int, ...], Counter[int]] = {}
    for row in said:
        mark = next((at for at, token in enumerate(row) if words.is_mark(token) and not words.opens(row, at)), len(row))
        for at in (at for at in range(1, mark) if words.begins(row[at]) or words.opens(row, at - 1)):
            behind.setdefault(tuple(row[:at]), Counter())[row[at]] += 1
    often = {
        lead: following.total() / len(said)
        for lead, following in behind.items()
        if following.total() >= OFTEN * len(said) and following.most_common(1)[0][1] <= DIVERSE * following.total()
    }
    return dict(sorted(often.items(), key=lambda item: -item[1])[:MOST_LEADS])


def after_lead(said: Sequence[Sequence[int]], begun: Mapping[tuple[int, ...], float]) -> list[int]:
    """How many tokens each row has of a lead that nearly all rows have."""
    common = [lead for lead, share in begun.items() if share >= SHARED]
    return [max((len(lead) for lead in common if tuple(row[: len(lead)]) == lead), default=0) for row in said]


def _closing(said: Sequence[Sequence[int]], places: Sequence[Sequence[int]], words: WordTokens) -> Collection[int]:
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

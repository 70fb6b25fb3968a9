"""How well a model knows the village: accuracy where the rules leave one choice, beside a trigram table's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pellucid.zoo.village.pieces import PHENOMENA
from pellucid.zoo.village.stories import Span, Story

Tokens = NDArray[np.int64]
"""Rows of token numbers, padded with 0 at their ends."""
Logits = Callable[[Tokens], NDArray[np.float32]]
"""From rows of tokens to the logits of the token after each position."""
Predictor = Callable[[Tokens], Tokens]
"""From rows of tokens to the likeliest token after each position."""

END = 0
"""The number of `<|endoftext|>`, which starts every row."""
BATCH = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A span in tokens: positions `start` to `end` of a row are determined."""

    start: int
    end: int
    span: Span


@dataclass(frozen=True, slots=True)
class Example:
    """A story as a row of tokens."""

    tokens: tuple[int, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of `n` spans: right in the first token, right in all tokens; and the share of right tokens in them."""

    n: int
    first: float
    whole: float
    tokens: float


def example(story: Story, tokenizer: Tokenizer) -> Example:
    """`story` in tokens; a span that cuts a token in two is an error."""
    encoding = tokenizer.encode(story.text)
    # Stories are ASCII, so that a token's byte-level spelling is as long as its text.
    starts = {end: position for position, end in enumerate(accumulate(map(len, encoding.tokens), initial=0), start=1)}
    targets = tuple(Target(starts[span.start], starts[span.end], span) for span in story.spans)
    return Example((END, *encoding.ids), targets)


def examples(stories: Iterable[Story], tokenizer: Tokenizer) -> list[Example]:
    """All of `stories` in tokens."""
    return [example(story, tokenizer) for story in stories]


def _batches(cases: Sequence[Example]) -> Iterator[tuple[Sequence[Example], Tokens]]:
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        rows = np.full((len(batch), max(len(case.tokens) for case in batch)), END, dtype=np.int64)
        for row, case in zip(rows, batch, strict=True):
            row[: len(case.tokens)] = case.tokens
        yield batch, rows


def groups_of(span: Span) -> tuple[str, ...]:
    """The lines of the table that `span` counts in."""
    if span.phenomenon != "fact":
        return (span.phenomenon,)
    return ("fact", "fact, held-out wordings" if span.held_out else "fact, seen wordings")


GROUPS = ("fact", "fact, seen wordings", "fact, held-out wordings", *PHENOMENA[1:])
"""The lines of the table."""


def accuracy(
    cases: Sequence[Example], predict: Predictor, groups: Callable[[Span], Iterable[str]] = groups_of
) -> dict[str, Score]:
    """The score of `predict` for each group of spans."""
    hits: dict[str, list[NDArray[np.bool_]]] = {}
    for batch, rows in _batches(cases):
        right = predict(rows)[:, :-1] == rows[:, 1:]
        for case, row in zip(batch, right, strict=True):
            for target in case.targets:
                for group in groups(target.span):
                    hits.setdefault(group, []).append(row[target.start - 1 : target.end - 1])
    return {group: _score(spans) for group, spans in hits.items()}


def _score(spans: Sequence[NDArray[np.bool_]]) -> Score:
    first = sum(bool(span[0]) for span in spans) / len(spans)
    whole = sum(bool(span.all()) for span in spans) / len(spans)
    return Score(len(spans), first, whole, float(np.concatenate(spans).mean()))


def argmax(logits: Logits) -> Predictor:
    """The predictor that takes the likeliest token."""
    return lambda rows: logits(rows).argmax(-1)


class Trigram:
    """The likeliest token after the two before, or after the one before where the two were never seen."""

    def __init__(self, rows: Iterable[Sequence[int]], vocabulary: int) -> None:
        triples: list[NDArray[np.int64]] = []
        for row in rows:
            tokens = np.asarray(row, dtype=np.int64)
            triples.append((tokens[:-2] * vocabulary + tokens[1:-1]) * vocabulary + tokens[2:])
        codes, counts = np.unique(np.concatenate(triples), return_counts=True)
        self._vocabulary = vocabulary
        self._after_two = _likeliest(codes, counts, vocabulary)
        pairs, place = np.unique(codes % vocabulary**2, return_inverse=True)
        self._after_one = _likeliest(pairs, np.bincount(place, counts).astype(np.int64), vocabulary)

    def __call__(self, rows: Tokens) -> Tokens:
        """The likeliest next token at each position of `rows`."""
        contexts = rows.copy()
        contexts[:, 1:] += rows[:, :-1] * self._vocabulary
        guess = [
            self._after_two.get(pair, self._after_one.get(pair % self._vocabulary, END))
            for pair in contexts.ravel().tolist()
        ]
        return np.array(guess, dtype=np.int64).reshape(rows.shape)


def _likeliest(codes: Tokens, counts: Tokens, vocabulary: int) -> dict[int, int]:
    """For each context (a code without its last token) the last token with the highest count."""
    order = np.argsort(counts, kind="stable")
    contexts, tokens = np.divmod(codes[order], vocabulary)
    return dict(zip(contexts.tolist(), tokens.tolist(), strict=True))


def close_calls(cases: Sequence[Example], logits: Logits, ratio: float = 1.2) -> float:
    """The share of free positions where the likeliest token is less than `ratio` times as likely as the next."""
    close = total = 0
    for batch, rows in _batches(cases):
        top = np.sort(np.partition(logits(rows), -2, axis=-1)[..., -2:], axis=-1)
        narrow = top[..., 1] - top[..., 0] < np.log(ratio)
        for case, row in zip(batch, narrow, strict=True):
            free = np.ones(len(case.tokens) - 1, dtype=bool)
            for target in case.targets:
                free[target.start - 1 : target.end - 1] = False
            close += int(row[: len(free)][free].sum())
            total += int(free.sum())
    return close / total

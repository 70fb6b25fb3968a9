"""Greedy continuations of many contexts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from pellucid.corpus.lexicon import LONGEST, Lexicon
from pellucid.exact.predictor import Predictor, PredictorCache

TOKENS_PER_WORD = 4
"""A continuation of n words is given room for 4n tokens."""


@dataclass(frozen=True)
class WordContinuation:
    """Complete words at temperature 0. `cut` if there was no room for all that were asked."""

    words: list[str]
    cut: bool


def room_for(words: int, n_ctx: int) -> int:
    """Positions to leave free behind a context: four for each word, or half of a short model's."""
    return min(TOKENS_PER_WORD * words, n_ctx // 2)


def continuations(
    predictor: Predictor, cache: PredictorCache, first: Integer[np.ndarray, " batch"], lexicon: Lexicon, words: int
) -> list[WordContinuation]:
    """Continue the rows of `cache`, whose next tokens are `first`, by `words` words each.

    A row leaves the batch when it has them, or has ended its document. All stop at the end of the model's context, or
    after four tokens for each word asked.
    """
    batch = len(first)
    written: list[list[int]] = [[] for _ in range(batch)]
    rows, token = np.arange(batch), np.asarray(first)
    begun, length = np.zeros(batch, int), np.zeros(batch, int)
    done = np.zeros(batch, bool)
    last = min(cache.length + TOKENS_PER_WORD * words, predictor.n_ctx)
    while True:
        for row, value in zip(rows[~done], token[~done], strict=True):
            written[row].append(int(value))
        fresh = (length == 0) | lexicon.begins[token] | (length == LONGEST)
        begun, length = begun + fresh, np.where(fresh, 1, length + 1)
        done = done | (begun > words) | ((begun == words) & (length == LONGEST))
        if lexicon.eos is not None:
            done |= token == lexicon.eos
        if done.all() or cache.length == last:
            break
        if done.mean() >= 0.25:
            keep = np.flatnonzero(~done)
            cache = cache.take(keep, cache.length)
            rows, token, begun, length, done = rows[keep], token[keep], begun[keep], length[keep], done[keep]
        logits, cache = predictor.extend(token[:, None], cache, last_only=True)
        token = logits[:, -1].argmax(-1)
    return [_continuation(tokens, lexicon, words) for tokens in written]


def _continuation(tokens: list[int], lexicon: Lexicon, words: int) -> WordContinuation:
    complete = lexicon.words(tokens)[:words]
    ended = lexicon.eos is not None and lexicon.eos in tokens
    return WordContinuation(complete, cut=len(complete) < words and not ended)

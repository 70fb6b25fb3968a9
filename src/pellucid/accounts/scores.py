"""How likely each of several answers is behind each of several prompts: the log-probability of all its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64

from pellucid.accounts.answers import BATCH, batches, require_room
from pellucid.base.progress import track
from pellucid.engine.subjects import Subject
from pellucid.engine.whole import predictor_of
from pellucid.exact.predictor import Predictor, PredictorCache

LOGITS = 1 << 24
"""Logits that are held at once."""
Begun = dict[tuple[int, ...], list[int]]
"""All tokens of answers but their last, and the numbers of the answers that begin so."""


def log_probabilities(
    subject: Subject, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Float64[np.ndarray, "prompt answer"]:
    """The log-probability in nats of `answers` behind `prompts`, both in tokens, summed over the tokens of an answer.

    Raises `PellucidError` quoting a prompt that leaves no room for an answer.
    """
    beside = max((len(ids) - 1 for ids in answers), default=0)
    require_room(subject, prompts, beside)
    predictor = predictor_of(subject)
    firsts = [ids[0] for ids in answers]
    begun: Begun = {}
    for number, ids in enumerate(answers):
        if len(ids) > 1:
            begun.setdefault(tuple(ids[:-1]), []).append(number)
    found = np.zeros((len(prompts), len(answers)))
    groups = list(batches(prompts, beside))
    for rows in track(groups, "weighing answers", len(groups)):
        logits, cache = predictor.extend(np.array([prompts[row] for row in rows], np.int64), last_only=True)
        own = _normal(logits)[:, 0, firsts]
        for beginnings in _chunks(begun, predictor, cache.length, len(rows)):
            _add(own, predictor, cache, {beginning: begun[beginning] for beginning in beginnings}, answers)
        found[rows] = own
    return found


def _chunks(begun: Begun, predictor: Predictor, length: int, rows: int) -> Iterator[list[tuple[int, ...]]]:
    """Beginnings of one length, as many at once as there is memory for behind `rows` prompts of `length` tokens."""
    for size in sorted({len(beginning) for beginning in begun}):
        alike = [beginning for beginning in begun if len(beginning) == size]
        most = min(BATCH // (length + size), LOGITS // (size * predictor.n_vocab)) // rows
        step = max(1, most)
        yield from (alike[at : at + step] for at in range(0, len(alike), step))


def _add(
    to: Float64[np.ndarray, "row answer"],
    predictor: Predictor,
    cache: PredictorCache,
    begun: Begun,
    answers: Sequence[Sequence[int]],
) -> None:
    """Add what the second and all later tokens of the answers that are `begun` cost behind the rows of `cache`."""
    rows, count = len(to), len(begun)
    behind = cache.take(np.repeat(np.arange(rows), count), cache.length)
    ids: Int64[np.ndarray, "row new"] = np.tile(np.array(list(begun), np.int64), (rows, 1))
    logits, _ = predictor.extend(ids, behind)
    later = _normal(logits).reshape(rows, count, ids.shape[1], -1)
    for at, (beginning, numbers) in enumerate(begun.items()):
        for number in numbers:
            tokens = list(answers[number][1:])
            to[:, number] += later[:, at, np.arange(len(beginning)), tokens].sum(1)


def _normal(logits: Float32[np.ndarray, "row pos vocab"]) -> Float64[np.ndarray, "row pos vocab"]:
    """Log-probabilities."""
    shifted: Float64[np.ndarray, "row pos vocab"] = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted

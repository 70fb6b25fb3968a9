"""The references that need no understanding: bigram and trigram tables of the subject's own predictions.

A table holds the mean of the subject's next-token distributions behind each previous token (or two), over text to fit
on. A rare context is smoothed towards the shorter one, p = (Σ + λ·shorter) / (count + λ), with the λ that has the
smallest KL on text to tune on. All contexts of the fit text are kept where they fit into `limit` bytes; otherwise only
those that the rows to measure on contain (on as many rows as fit), and continuations are not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pellucid.base.progress import track
from pellucid.corpus.rows import Row, padded
from pellucid.exact.predictor import Predictor
from pellucid.measure.fidelity import SILENT, Contender
from pellucid.measure.tables import FLOOR, ContextTable, Keys, TablePredictor, pair
from pellucid.measure.teacher import Distribution

LAMBDAS = (0.0, 0.25, 1.0, 4.0, 16.0, 64.0)
_LOGITS = 1 << 24
"""Logits in memory at a time."""
_POSITIONS = 1 << 12
"""Positions in a cache at a time."""


def references(
    subject: Predictor,
    fit: Sequence[Row],
    tune: Sequence[Row],
    heldout: Sequence[Row],
    limit: int = 1 << 30,
) -> dict[str, Contender]:
    """The `bigram` and `trigram` references of a subject, to be passed to `evaluate` with the rows `heldout`.

    `fit` are rows to average over, `tune` to choose λ on. At most `limit` bytes are used for the tables.
    """
    vocab = subject.n_vocab
    tune = _few(tune, _LOGITS // vocab)
    seen = [_contexts(fit, order, vocab) for order in (1, 2)]
    keys, covered = _choose(seen, tune, heldout, vocab, limit // (4 * vocab))
    tables = [ContextTable.empty(wanted, vocab) for wanted in keys]
    total = np.zeros(vocab)
    for before, last, share in _predictions(subject, fit, "averaging predictions"):
        tables[0].add(last, share)
        tables[1].add(pair(before, last, vocab), share)
        total += share.sum(0, dtype=torch.float64).numpy()
    unigram = (total / total.sum()).astype(np.float32)
    goal = list(_predictions(subject, tune, "tuning references"))
    bigram = _tuned(
        [TablePredictor(subject.n_ctx, unigram, tables[0].with_smoothing(value)) for value in LAMBDAS], goal
    )
    trigrams = [
        TablePredictor(subject.n_ctx, unigram, bigram.bigram, tables[1].with_smoothing(value)) for value in LAMBDAS
    ]
    whole = [len(kept) == len(all_) for kept, all_ in zip(keys, seen, strict=True)]
    return {
        "bigram": Contender(bigram, None if whole[0] else SILENT, covered[0]),
        "trigram": Contender(_tuned(trigrams, goal), None if all(whole) else SILENT, covered[1]),
    }


def _choose(
    seen: list[Keys], tune: Sequence[Row], heldout: Sequence[Row], vocab: int, room: int
) -> tuple[list[Keys], list[frozenset[int] | None]]:
    """The contexts to keep for each order, `room` in all, and the rows of which they are all there (None: all)."""
    keys: list[Keys] = []
    covered: list[frozenset[int] | None] = []
    for order, known in enumerate(seen, 1):
        left = max(0, room - sum(map(len, keys)))
        if len(known) <= (left if order == len(seen) else left // 2):
            keys.append(known)
            covered.append(None)
            continue
        kept, rows = np.intersect1d(_contexts(tune, order, vocab), known)[: left // 4], 0
        for row in heldout:
            more = np.union1d(kept, np.intersect1d(_contexts((row,), order, vocab), known))
            if len(more) > left:
                break
            kept, rows = more, rows + 1
        keys.append(kept)
        covered.append(None if rows == len(heldout) else frozenset(range(rows)))
    if covered[0] is not None:
        covered[1] = covered[0] if covered[1] is None else covered[0] & covered[1]
    return keys, covered


def _contexts(rows: Sequence[Row], order: int, vocab: int) -> Keys:
    """The different contexts of `order` tokens in `rows`, as sorted keys."""
    keys = [row.tokens.astype(np.int64) for row in rows]
    if order == 2:
        keys = [pair(tokens[:-1], tokens[1:], vocab) for tokens in keys]
    return np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)


def _predictions(
    subject: Predictor, rows: Sequence[Row], label: str
) -> Iterator[tuple[Int64[np.ndarray, " pos"], Int64[np.ndarray, " pos"], Float32[Tensor, "pos vocab"]]]:
    """Stretch by stretch: the two tokens before each prediction (−1 for none), and the subject's distribution."""
    order = sorted(rows, key=len)
    batch = max(1, _POSITIONS // max(map(len, rows)))
    starts = range(0, len(order), batch)
    for begin in track(starts, label, len(starts)):
        group = order[begin : begin + batch]
        ids, lengths = padded(group), np.array([len(row) for row in group])
        before = np.concatenate([np.full((len(ids), 1), -1), ids[:, :-1]], 1)
        step, cache = ceil(_LOGITS / (len(ids) * subject.n_vocab)), None
        for at in range(0, ids.shape[1], step):
            stretch = slice(at, at + step)
            logits, cache = subject.extend(ids[:, stretch], cache)
            real = np.arange(ids.shape[1])[None, stretch] < lengths[:, None]
            share = torch.from_numpy(logits[real]).softmax(-1)
            yield before[:, stretch][real], ids[:, stretch][real], share


def _tuned(
    candidates: Sequence[TablePredictor],
    goal: Sequence[tuple[Int64[np.ndarray, " pos"], Int64[np.ndarray, " pos"], Float32[Tensor, "pos vocab"]]],
) -> TablePredictor:
    """The candidate with the smallest KL to the predictions `goal`; the first of equals."""

    def divergence(candidate: TablePredictor) -> float:
        total = 0.0
        for before, last, share in goal:
            ours = Distribution.of(np.log(np.maximum(share.numpy(), FLOOR)))
            theirs = Distribution.of(np.log(np.maximum(candidate.share(before, last), FLOOR)))
            total += float(ours.divergence(theirs).sum())
        return total

    return min(candidates, key=divergence)


def _few(rows: Sequence[Row], positions: int) -> list[Row]:
    """As many of the first rows as have `positions` positions in all, one at least."""
    chosen: list[Row] = []
    for row in rows:
        if chosen and sum(map(len, chosen)) + len(row) > positions:
            break
        chosen.append(row)
    return chosen

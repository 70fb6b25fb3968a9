"""Tables of next-token distributions by the one or two tokens before, and the predictor that looks them up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Integer
from torch import Tensor

FLOOR = 1e-30
"""The least probability, so that its logarithm is finite."""
Keys = Int64[np.ndarray, " _"]
"""Contexts as sorted numbers: a token, or `pair` of two."""


def pair(before: Int64[np.ndarray, " pos"], last: Int64[np.ndarray, " pos"], vocab: int) -> Int64[np.ndarray, " pos"]:
    """The key of two tokens, −1 where there is no token before."""
    return np.where(before < 0, -1, before * vocab + last)


@dataclass(frozen=True)
class ContextTable:
    """Sums of next-token distributions by context. `keys` are sorted; `smoothing` is λ."""

    keys: Keys
    sums: Float32[Tensor, "context vocab"]
    counts: Float64[np.ndarray, " context"]
    smoothing: float = 0.0

    @staticmethod
    def empty(keys: Keys, n_vocab: int) -> ContextTable:
        """A table for the contexts `keys`, of which nothing has been seen yet."""
        return ContextTable(keys, torch.zeros(len(keys), n_vocab), np.zeros(len(keys)))

    def with_smoothing(self, smoothing: float) -> ContextTable:
        """The same table (not a copy) with another λ."""
        return replace(self, smoothing=smoothing)

    def find(self, keys: Int64[np.ndarray, " pos"]) -> Int64[np.ndarray, " pos"]:
        """The row of each key, −1 where it has none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def add(self, keys: Int64[np.ndarray, " pos"], share: Float32[Tensor, "pos vocab"]) -> None:
        """Count the distributions `share` under their contexts, as far as the table has them."""
        at = self.find(keys)
        known = np.flatnonzero(at >= 0)
        if len(known):
            self.sums.index_add_(0, torch.from_numpy(at[known]), share[torch.from_numpy(known)])
            np.add.at(self.counts, at[known], 1.0)

    def smoothed(
        self, keys: Int64[np.ndarray, " pos"], shorter: Float32[np.ndarray, "pos vocab"]
    ) -> Float32[np.ndarray, "pos vocab"]:
        """The distributions behind `keys`, smoothed towards (or, where nothing was seen, replaced by) `shorter`."""
        at = self.find(keys)
        count = np.where(at >= 0, self.counts[at], 0.0) if len(self.keys) else np.zeros(len(keys))
        seen = count > 0
        result = shorter.copy()
        if seen.any():
            weight = (count[seen] + self.smoothing)[:, None]
            sums = self.sums[torch.from_numpy(at[seen])].numpy()
            result[seen] = (sums + self.smoothing * shorter[seen]) / weight
        return result.astype(np.float32)


@dataclass(frozen=True)
class _Recent:
    """The cache of a table: the last token of each row (−1: none) and how many there were."""

    length: int
    tokens: Int64[np.ndarray, "batch pos"] = field(repr=False)

    def take(self, rows: Integer[np.ndarray, " rows"], length: int) -> _Recent:
        return _Recent(length, self.tokens[rows, :length])


@dataclass(frozen=True)
class TablePredictor:
    """A predictor that looks up the previous token, and the one before it if it has a `trigram` table."""

    n_ctx: int
    unigram: Float32[np.ndarray, " vocab"]
    bigram: ContextTable
    trigram: ContextTable | None = None

    @property
    def n_vocab(self) -> int:
        return len(self.unigram)

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: _Recent | None = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], _Recent]:
        """As in `Predictor`; the logits are log probabilities."""
        held = cache.tokens if cache else np.empty((len(ids), 0), np.int64)
        tokens = np.concatenate([held, ids], 1)
        new = 1 if last_only else ids.shape[1]
        before = np.concatenate([np.full((len(ids), 1), -1), tokens], 1)[:, -new - 1 : -1]
        share = self.share(before.reshape(-1), tokens[:, -new:].reshape(-1))
        logits = np.log(np.maximum(share, FLOOR)).reshape(len(ids), new, -1)
        return logits, _Recent(tokens.shape[1], tokens)

    def share(
        self, before: Int64[np.ndarray, " pos"], last: Int64[np.ndarray, " pos"]
    ) -> Float32[np.ndarray, "pos vocab"]:
        """The next-token distribution behind pairs of tokens (`before` is −1 at the start of a row)."""
        unigram = np.broadcast_to(self.unigram, (len(last), self.n_vocab))
        share = self.bigram.smoothed(last, unigram)
        return share if self.trigram is None else self.trigram.smoothed(pair(before, last, self.n_vocab), share)

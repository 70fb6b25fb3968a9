"""Teacher-forced comparison: how two predictors' next-token distributions differ at each position of given text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Integer

_STRETCH = 1 << 18
"""Logits worked on at a time: what fits in a processor's cache."""


@dataclass(frozen=True)
class Distribution:
    """Next-token distributions: probabilities are `mass` / `whole`, and `total` is the log of Σ exp(logits), nats."""

    logits: Float32[np.ndarray, "pos vocab"]
    mass: Float32[np.ndarray, "pos vocab"]
    whole: Float64[np.ndarray, " pos"]
    total: Float64[np.ndarray, " pos"]
    top: Integer[np.ndarray, " pos"]

    @staticmethod
    def of(logits: Float32[np.ndarray, "pos vocab"]) -> Distribution:
        """Normalise; the top token is the lowest id among equals."""
        top = logits.argmax(-1)
        peak = np.take_along_axis(logits, top[:, None], -1)
        mass = np.exp(logits - peak)
        whole = mass.sum(-1, dtype=np.float64)
        return Distribution(logits, mass, whole, np.log(whole) + peak[:, 0], top)

    def loss(self, targets: Integer[np.ndarray, " pos"]) -> Float64[np.ndarray, " pos"]:
        """−log probability of the tokens that came, nats."""
        return np.asarray(self.total - np.take_along_axis(self.logits, targets[:, None], -1)[:, 0])

    def divergence(self, other: Distribution) -> Float64[np.ndarray, " pos"]:
        """KL(self‖other), nats; what rounding takes below zero is zero."""
        gap = ((self.logits - other.logits) * self.mass).sum(-1, dtype=np.float64)
        return np.asarray(np.maximum(gap / self.whole - self.total + other.total, 0.0))


@dataclass(frozen=True)
class Comparison:
    """What a program does at each position: its top token, KL(subject‖program) and loss minus the subject's, nats."""

    top: Integer[np.ndarray, "batch pos"]
    kl: Float64[np.ndarray, "batch pos"]
    excess: Float64[np.ndarray, "batch pos"]

    def among(self, rows: Integer[np.ndarray, " some"], batch: int) -> Comparison:
        """The same, as rows `rows` of a larger batch, in whose other rows nothing was compared."""
        whole = [np.zeros((batch, held.shape[1]), held.dtype) for held in (self.top, self.kl, self.excess)]
        for held, into in zip((self.top, self.kl, self.excess), whole, strict=True):
            into[rows] = held
        return Comparison(*whole)

    @staticmethod
    def join(parts: Sequence[Comparison]) -> Comparison:
        """Comparisons of consecutive stretches of the same rows as one."""
        columns = ([part.top for part in parts], [part.kl for part in parts], [part.excess for part in parts])
        return Comparison(*(np.concatenate(column, 1) for column in columns))


def compare(
    subject: Float32[np.ndarray, "batch pos vocab"],
    programs: dict[str, Float32[np.ndarray, "batch pos vocab"]],
    targets: Integer[np.ndarray, "batch pos"],
) -> tuple[Integer[np.ndarray, "batch pos"], dict[str, Comparison]]:
    """The subject's top tokens, and each program's comparison with it; the subject is normalised only once."""
    batch, pos, vocab = subject.shape
    flat = {name: logits.reshape(-1, vocab) for name, logits in programs.items()}
    tops = np.empty(batch * pos, np.int64)
    out = {name: [np.empty(batch * pos, kind) for kind in (np.int64, float, float)] for name in programs}
    for at in _stretches(batch * pos, vocab):
        ours = Distribution.of(subject.reshape(-1, vocab)[at])
        tops[at], loss = ours.top, ours.loss(targets.reshape(-1)[at])
        for name, logits in flat.items():
            theirs = Distribution.of(logits[at])
            top, kl, excess = out[name]
            top[at], kl[at] = theirs.top, ours.divergence(theirs)
            excess[at] = theirs.loss(targets.reshape(-1)[at]) - loss
    shaped = {name: Comparison(*(array.reshape(batch, pos) for array in arrays)) for name, arrays in out.items()}
    return tops.reshape(batch, pos), shaped


def _stretches(positions: int, vocab: int) -> Iterator[slice]:
    step = max(1, _STRETCH // vocab)
    return (slice(begin, begin + step) for begin in range(0, positions, step))

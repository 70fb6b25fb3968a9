"""Arithmetic by rotation: which waves of a sum the logits are made of (Nanda et al., 2023, "Progress measures").

A model that adds modulo p by rotation has logits Σ w_k · cos(2πk(a + b − c)/p) over few key frequencies k: every number
is an angle k·a on a circle, angles add, and the answer c is the one at which the waves of all key frequencies peak
together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

MOST = 12
SHARE = 0.005
"""A frequency that adds less than this share of the waves' power is none of the key frequencies."""


@dataclass(frozen=True)
class Waves:
    """Key frequencies with their weights in the logits, for arithmetic modulo `p`; strongest first."""

    p: int
    weights: tuple[tuple[int, float], ...]

    def logits(self, angles: Float[np.ndarray, "case wave two"]) -> Float[np.ndarray, "case number"]:
        """Σ w (cos θ cos ωc + sin θ sin ωc) for cosine and sine of each wave's angle."""
        c = np.arange(self.p)
        total = np.zeros((len(angles), self.p))
        for at, (frequency, weight) in enumerate(self.weights):
            turn = 2 * np.pi * frequency * c / self.p
            total += weight * (angles[:, at, :1] * np.cos(turn) + angles[:, at, 1:] * np.sin(turn))
        return total

    def angles(self, total: Int[np.ndarray, " case"]) -> Float[np.ndarray, "case wave two"]:
        """Cosine and sine of every wave at the sums `total`."""
        turn = 2 * np.pi * np.array([f for f, _ in self.weights])[None] * total[:, None] / self.p
        return np.stack([np.cos(turn), np.sin(turn)], -1)


def spectrum(
    logits: Float[np.ndarray, "case number"], total: Int[np.ndarray, " case"]
) -> Float[np.ndarray, " frequency"]:
    """The weight of cos(2πk(a + b − c)/p) in the logits, for k = 1 … (p − 1)/2."""
    p = logits.shape[1]
    centred = logits - logits.mean(1, keepdims=True)
    aligned = np.stack([np.roll(row, -int(shift)) for row, shift in zip(centred, total % p, strict=True)])
    wave = np.fft.rfft(aligned.mean(0)).real * 2 / p
    return np.asarray(wave[1 : (p - 1) // 2 + 1])


def key_waves(logits: Float[np.ndarray, "case number"], total: Int[np.ndarray, " case"]) -> Waves:
    """The key frequencies of the logits and their weights."""
    weights = spectrum(logits, total)
    power = weights**2 / (weights**2).sum()
    order = [int(at) for at in power.argsort()[::-1][:MOST] if power[at] >= SHARE]
    largest = abs(weights[order[0]]) if order else 1.0
    return Waves(logits.shape[1], tuple((at + 1, float(f"{weights[at] / largest:.2g}")) for at in order))


def cross_entropy(logits: Float[np.ndarray, "case number"], answer: Int[np.ndarray, " case"]) -> float:
    """Mean of −log softmax at the answers, in nats."""
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(answer)), answer]).mean())


@dataclass(frozen=True)
class Losses:
    """Loss of the model, with its logits restricted to key waves, and with these excluded; in nats."""

    whole: float
    restricted: float
    excluded: float


def losses(
    logits: Float[np.ndarray, "case number"], a: Int[np.ndarray, " case"], b: Int[np.ndarray, " case"], waves: Waves
) -> Losses:
    """The three losses over the cases given.

    The part of the logits that varies as cos and sin of ω(a + b), for the key frequencies, is found by least squares.
    """
    total = (a + b) % waves.p
    basis = waves.angles(total).reshape(len(a), -1)
    centred = logits - logits.mean(0)
    part = basis @ np.linalg.lstsq(basis, centred, rcond=None)[0]
    return Losses(
        cross_entropy(logits, total),
        cross_entropy(part, total),
        cross_entropy(logits - part, total),
    )


def concentration(table: Float[np.ndarray, "number model"]) -> float:
    """How few frequencies an embedding is made of: the Gini coefficient of its spectrum, from 0 (all alike) to 1."""
    power = np.sort((np.abs(np.fft.rfft(table, axis=0))[1:] ** 2).sum(1))
    rank = np.arange(1, len(power) + 1)
    return float((2 * (rank * power).sum() / (len(power) * power.sum())) - (len(power) + 1) / len(power))

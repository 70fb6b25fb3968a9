"""Where a head looks, as few named comparisons: a softmax fitted to its pattern, one comparison after the other.

Each step adds the comparison with the largest score statistic (squared slope of the likelihood over its curvature: Rao,
1948) and refits all weights by Newton's method, which is convex: the pattern is a conditional exponential family
(Della Pietra et al., 1997, "Inducing features of random fields").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RIDGE = 1e-5


@dataclass(frozen=True, eq=False)
class AttendedPairs:
    """Queries with all their keys: `pattern` is the share that the head gives, `query` numbers the queries from 0."""

    pattern: Float[np.ndarray, " pair"]
    query: Int[np.ndarray, " pair"]
    weight: Float[np.ndarray, " query"]

    @property
    def starts(self) -> Int[np.ndarray, " query"]:
        """Where the pairs of each query begin."""
        return np.searchsorted(self.query, np.arange(len(self.weight)))


@dataclass(frozen=True)
class Fit:
    """Comparisons by number with their weights, and the divergence KL(head‖fit) in nats that is left."""

    terms: tuple[tuple[int, float], ...]
    divergence: float


def softmax(scores: Float[np.ndarray, " pair"], pairs: AttendedPairs) -> Float[np.ndarray, " pair"]:
    """Shares that add to one for every query."""
    starts = pairs.starts
    top = np.maximum.reduceat(scores, starts)
    weights = np.exp(scores - top[pairs.query])
    return np.asarray(weights / np.add.reduceat(weights, starts)[pairs.query])


def divergence(shares: Float[np.ndarray, " pair"], pairs: AttendedPairs) -> float:
    """Mean KL(head‖shares), in nats."""
    terms = pairs.pattern * (np.log(pairs.pattern + 1e-12) - np.log(shares + 1e-12))
    return float(np.average(np.add.reduceat(terms, pairs.starts), weights=pairs.weight))


def path(pairs: AttendedPairs, features: Float[np.ndarray, "feature pair"], most: int, enough: float) -> list[Fit]:
    """Fits of 0, 1, 2, … comparisons, until `most`, or until the divergence is below `enough`."""
    chosen: list[int] = []
    weights = np.zeros(0)
    importance = (pairs.weight / pairs.weight.sum())[pairs.query]
    fits = [Fit((), divergence(softmax(np.zeros(len(pairs.pattern)), pairs), pairs))]
    shares = softmax(np.zeros(len(pairs.pattern)), pairs)
    while len(chosen) < most and fits[-1].divergence > enough:
        slope = features @ (importance * (pairs.pattern - shares))
        mean = np.add.reduceat(features * shares, pairs.starts, axis=1)
        spread = (features**2) @ (importance * shares) - (mean**2) @ (pairs.weight / pairs.weight.sum())
        gain = slope**2 / (spread + 1e-3)
        gain[chosen] = -1
        best = int(gain.argmax())
        if gain[best] <= 1e-9:
            break
        chosen.append(best)
        weights = _newton(pairs, features[chosen], np.append(weights, 0.0), importance)
        shares = softmax(weights @ features[chosen], pairs)
        fits.append(Fit(tuple(zip(chosen, map(float, weights), strict=True)), divergence(shares, pairs)))
    return fits


def refit(pairs: AttendedPairs, features: Float[np.ndarray, "feature pair"], fit: Fit) -> Fit:
    """`fit` with its least needed comparisons dropped, one by one, while that costs next to nothing."""
    chosen, weights = [feature for feature, _ in fit.terms], np.array([weight for _, weight in fit.terms])
    importance = (pairs.weight / pairs.weight.sum())[pairs.query]
    best = fit
    while len(chosen) > 1:
        shares = softmax(weights @ features[chosen], pairs)
        curve = _curvature(pairs, features[chosen], shares, importance) + 2 * RIDGE * np.eye(len(chosen))
        least = int((weights**2 / np.diag(np.linalg.inv(curve))).argmin())  # Wald's statistic
        rest = chosen[:least] + chosen[least + 1 :]
        weights = _newton(pairs, features[rest], np.delete(weights, least), importance)
        left = divergence(softmax(weights @ features[rest], pairs), pairs)
        if left > max(1.15 * fit.divergence, fit.divergence + 1e-5):
            break
        chosen, best = rest, Fit(tuple(zip(rest, map(float, weights), strict=True)), left)
    return best


def _curvature(
    pairs: AttendedPairs, features: Float[np.ndarray, "feature pair"], shares: np.ndarray, importance: np.ndarray
) -> Float[np.ndarray, "feature feature"]:
    """The second derivative of the divergence by the weights: the mean covariance of the comparisons."""
    mean = np.add.reduceat(features * shares, pairs.starts, axis=1)
    covariance = (features * (importance * shares)) @ features.T
    return np.asarray(covariance - (mean * (pairs.weight / pairs.weight.sum())) @ mean.T)


def _newton(
    pairs: AttendedPairs,
    features: Float[np.ndarray, "feature pair"],
    weights: Float[np.ndarray, " feature"],
    importance: Float[np.ndarray, " pair"],
    steps: int = 12,
) -> Float[np.ndarray, " feature"]:
    """The weights of least divergence, from `weights`."""
    shares = softmax(weights @ features, pairs)
    loss = divergence(shares, pairs) + RIDGE * float(weights @ weights)
    for _ in range(steps):
        slope = features @ (importance * (pairs.pattern - shares)) - 2 * RIDGE * weights
        curve = _curvature(pairs, features, shares, importance)
        step = np.linalg.solve(curve + 2 * RIDGE * np.eye(len(weights)), slope)
        scale = 1.0
        while scale > 1e-3:
            trial = weights + scale * step
            shares = softmax(trial @ features, pairs)
            after = divergence(shares, pairs) + RIDGE * float(trial @ trial)
            if after < loss:
                break
            scale /= 2
        if scale <= 1e-3 or loss - after < 1e-8:
            break
        weights, loss = trial, after
    return weights

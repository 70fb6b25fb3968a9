"""Patterns that are made by few comparisons are found again."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.weightless import attend


def made(weights: dict[int, float], features: np.ndarray, queries: int, keys: int) -> attend.AttendedPairs:
    """Queries of `keys` keys each, whose pattern is the softmax of the weighted `features`."""
    query = np.repeat(np.arange(queries), keys)
    empty = attend.AttendedPairs(np.zeros(queries * keys), query, np.ones(queries))
    scores = sum(weight * features[feature] for feature, weight in weights.items())
    return attend.AttendedPairs(attend.softmax(scores, empty), query, np.ones(queries))


def test_the_comparisons_behind_a_pattern_are_found_with_their_weights() -> None:
    features = (np.random.default_rng(0).random((20, 300 * 12)) < 0.3).astype(float)
    pairs = made({3: 2.0, 7: -1.0, 11: 4.0}, features, 300, 12)
    fits = attend.path(pairs, features, most=8, enough=1e-4)
    assert [fit.divergence for fit in fits] == sorted((fit.divergence for fit in fits), reverse=True)
    found = dict(fits[-1].terms)
    assert set(found) == {3, 7, 11}
    assert found[11] == pytest.approx(4.0, abs=0.05)


def test_a_comparison_that_is_not_needed_is_dropped() -> None:
    features = (np.random.default_rng(1).random((5, 200 * 8)) < 0.5).astype(float)
    pairs = made({2: 1.5}, features, 200, 8)
    heavy = attend.Fit(((0, 0.001), (2, 1.5)), attend.divergence(pairs.pattern, pairs))
    assert [feature for feature, _ in attend.refit(pairs, features, heavy).terms] == [2]

"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np

from pellucid.measure.bootstrap import estimates, units


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        below = rng.integers(5, 15, size=(60, 1)).astype(float)
        above = rng.binomial(below.astype(int), 0.3).astype(float)
        (found,) = estimates(above, below, below, ["d"] * 60)
        covered += found.low <= 0.3 <= found.high
    assert 85 <= covered <= 100


def test_strata_are_resampled_apart() -> None:
    above, below = np.repeat([[0.0], [10.0]], 20, 0), np.full((40, 1), 10.0)
    (found,) = estimates(above, below, below, ["a"] * 20 + ["b"] * 20)
    assert found.low == found.value == found.high == 0.5
    (mixed,) = estimates(above, below, below, ["a"] * 40)
    assert mixed.low < 0.4 < 0.6 < mixed.high


def test_a_single_unit_has_no_interval_and_nothing_no_estimate() -> None:
    one, nothing = estimates(np.array([[1.0, 0.0]]), np.array([[4.0, 0.0]]), np.array([[4.0, 0.0]]), ["d"])
    assert (one.value, one.low, one.high, one.n) == (0.25, None, None, 4)
    assert nothing is None


def test_units_are_as_coarse_as_leaves_enough_of_them() -> None:
    documents, rows = ["x"] * 4 + ["y"] * 4, [str(i) for i in range(8)]
    assert len(set(units(["d"] * 8, [documents, rows], enough=2))) == 2
    assert len(set(units(["d"] * 8, [documents, rows], enough=3))) == 8
    assert len(set(units(["d"] * 4 + ["e"] * 4, [documents, documents], enough=3))) == 2

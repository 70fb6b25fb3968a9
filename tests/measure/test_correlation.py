"""Correlations with ties and constants, and effects as shares of a whole."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid import agreement
from pellucid.engine.shares import divides, finite
from pellucid.measure.correlation import pearson, ranks, spearman


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 3.0, 2.0])).tolist() == [4, 1, 4, 4, 2]
    assert ranks(torch.zeros(5)).tolist() == [3] * 5


def test_ranks_of_sparse_effects_that_name_different_pieces_do_not_agree() -> None:
    x, y = torch.zeros(50), torch.zeros(50)
    x[3], y[40] = 1.0, 1.0
    assert spearman(x, y) == pytest.approx(-1 / 49)  # by hand: midranks are 25 but for one of 50 in each
    assert agreement(x, y).spearman == pytest.approx(-1 / 49)
    assert spearman(x, x) == pytest.approx(1)
    one, other = torch.tensor([1.0, 2, 2, 3]), torch.tensor([1.0, 3, 2, 4])
    assert spearman(one, other) == pytest.approx(0.9486832980505138)


def test_constants_and_too_few_pieces_correlate_with_nothing() -> None:
    x = torch.arange(4.0)
    for y in (torch.ones(4), torch.full((4,), 0.1), torch.tensor([0.0, 1, 2, math.nan])):
        assert agreement(x, y).pearson is None
        assert agreement(x, y).spearman is None
    assert agreement(x[:2], x[:2]).pearson is None
    assert pearson(1e-200 * x.double(), -1e-200 * x.double()) == pytest.approx(-1)


def test_a_whole_near_zero_has_no_shares() -> None:
    assert divides(2.0, [1.0, -3.0])
    assert not divides(0.3, [3.66])
    assert not divides(0.0, [])
    assert not divides(1e-7, [1e-8])
    assert not divides(math.nan, [1.0])
    assert (finite(math.nan), finite(-math.inf), finite(None), finite(0.5)) == (None, None, None, 0.5)

"""The meter: coverage, precision and top-1, counted by hand."""

from __future__ import annotations

import pytest
import torch

from pellucid.accounts.meter import NOBODY, Proportion, Spoken, meter, reliable, rule_shares, wilson

OWN = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4]])
SPOKEN = Spoken(
    torch.tensor([[1, 2, 9, -1], [1, 7, -1, -1]]), torch.tensor([[0, 1, 1, NOBODY], [0, 1, NOBODY, NOBODY]])
)
BACK = torch.tensor([[0, 0, 3, 4], [0, 0, 3, 0]])
HARD = torch.tensor([[True, True, False, False], [False, True, False, True]])


def test_wilson_bounds_are_those_of_the_textbook() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe (1998), table I
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)


def test_a_rule_is_judged_by_where_it_speaks_alone() -> None:
    assert rule_shares(SPOKEN, OWN, 3) == [Proportion(2, 2), Proportion(1, 3), Proportion(0, 0)]
    assert reliable([Proportion(100, 100), Proportion(98, 100), Proportion(0, 0), Proportion(20, 20)]).tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert Proportion(0, 0).to_dict() == {"value": None, "low": None, "high": None, "n": 0}


def test_what_counts_as_covering_is_apart_from_what_the_program_says() -> None:
    figures = meter(SPOKEN, OWN, BACK, HARD, torch.tensor([True, False]))
    everywhere, hard = figures["all"], figures["hard"]
    assert (everywhere.covered, everywhere.precision) == (Proportion(2, 8), Proportion(2, 2))
    assert (everywhere.top1, everywhere.back_off) == (Proportion(5, 8), Proportion(3, 8))
    assert (hard.covered, hard.precision, hard.top1, hard.back_off) == (
        Proportion(1, 4),
        Proportion(1, 1),
        Proportion(2, 4),
        Proportion(0, 4),
    )
    assert figures["hard"].to_dict()["covered"]["value"] == 0.25

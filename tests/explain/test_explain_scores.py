"""Scores: who knows all gets all, who knows nothing what guessing gives, and what is not there is not measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.explain.items import items_of
from pellucid.explain.scores import CHANCE, balanced, fuzzes, intruder, mean_scores, scored, threshold

IDS = torch.randint(0, 30, (60, 32), generator=torch.Generator().manual_seed(0))
VALUES = ((IDS % 5 == 0) & (torch.rand(IDS.shape, generator=torch.Generator().manual_seed(1)) < 0.5)).float()


def all_scores(predicted: np.ndarray) -> dict[str, float | None]:
    items = items_of(IDS, VALUES, 0)
    return scored(predicted, VALUES.numpy(), items, fuzzes(items, 0), threshold(predicted, VALUES.numpy()))


def test_who_knows_all_is_always_right() -> None:
    expected = {"simulation": 1.0, "detection": 1.0, "fuzzing": 1.0, "intruder": 1.0, "surprisal": None}
    assert all_scores(VALUES.numpy()) == pytest.approx(expected)


def test_who_always_says_the_same_gets_what_chance_gives() -> None:
    assert all_scores(np.full(IDS.shape, 0.3)) == pytest.approx({**CHANCE, "surprisal": None})


def test_who_says_the_opposite_is_worse_than_chance() -> None:
    found = all_scores(1 - VALUES.numpy())
    assert found["simulation"] == pytest.approx(-1.0)
    assert found["intruder"] == 0.0


def test_half_of_what_is_idle_has_a_token_that_is_active_elsewhere() -> None:
    items = items_of(IDS, VALUES, 0)
    active = [item for item in items if item.active]
    assert len(items) == 20
    assert len(active) == 10
    assert sum(item.alike for item in items) == 5
    tokens = {item.example.ids[-1] for item in active}
    assert all(item.example.ids[-1] in tokens and item.example.value == 0 for item in items if item.alike)
    assert all(item.example.value == 1 for item in active)
    assert items == items_of(IDS, VALUES, 0)
    assert items != items_of(IDS, VALUES, 1)


def test_a_part_that_is_never_or_always_active_is_not_scored() -> None:
    for values in (torch.zeros(IDS.shape), torch.ones(IDS.shape)):
        assert items_of(IDS, values, 0) == []
    nothing = scored(VALUES.numpy(), VALUES.numpy(), [], [], 0.5)
    assert set(nothing.values()) == {None}


def test_means_have_intervals_and_leave_out_what_was_not_measured() -> None:
    found = mean_scores([{"detection": 0.5, "fuzzing": None}, {"detection": 1.0, "fuzzing": None}])
    assert found["fuzzing"] is None
    assert found["detection"] is not None
    assert found["detection"]["value"] == 0.75
    assert (found["detection"]["low"], found["detection"]["high"], found["detection"]["n"]) == (0.5, 1.0, 2)


def test_balanced_accuracy_counts_both_sides_alike() -> None:
    assert balanced([True, True, True, True], [True, True, True, False]) == 0.5
    assert balanced([True, False], [True, True]) is None


def test_of_ties_an_intruder_is_found_as_often_as_by_guessing() -> None:
    assert intruder(np.zeros(IDS.shape), items_of(IDS, VALUES, 0)) == pytest.approx(0.2)

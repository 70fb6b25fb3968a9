"""Linking accepts what passes jointly and nothing else, in few trials."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import checkpoints
from pellucid.project.project import Project
from pellucid.stages.link import linking
from pellucid.stages.link.link import link


@given(
    true=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    noise=st.lists(st.floats(0.2, 5), min_size=60, max_size=60),
    budget=st.floats(0, 5),
    trials=st.integers(1, 30),
)
def test_what_is_accepted_passed_jointly(true: list[float], noise: list[float], budget: float, trials: int) -> None:
    judged: list[list[int]] = []

    def passes(parts: Sequence[int]) -> bool:
        judged.append(list(parts))
        return sum(true[i] for i in parts) <= budget

    costs = [cost * factor for cost, factor in zip(true, noise, strict=False)]
    result = link(range(len(true)), costs, budget, passes, trials)
    assert sum(true[i] for i in result.accepted) <= budget
    assert len(set(result.accepted)) == len(result.accepted)
    assert len(judged) == len(result.trials) <= trials
    assert result.accepted == [] or result.accepted in judged


def test_one_bad_part_does_not_cost_the_others() -> None:
    result = link(range(64), [0.01] * 64, 1.0, lambda parts: 17 not in parts, trials=30)
    assert sorted(result.accepted) == [i for i in range(64) if i != 17]


def test_exact_estimates_need_one_trial_for_all() -> None:
    result = link(range(10), [0.1] * 10, 2.0, lambda _: True, trials=5)
    assert result.trials == [(10, True)]


def test_a_large_part_may_cost_more_than_a_small_one() -> None:
    result = link(
        ["head", "neuron", "other"], [0.3, 0.1, 0.2], 0.5, lambda parts: len(parts) < 3, 9, [100.0, 1.0, 10.0]
    )
    assert result.accepted == ["head", "other"]
    assert result.trials[0] == (2, True)


@pytest.mark.parametrize("rows", [30, 13])
def test_rows_are_contexts_of_several_lengths_where_there_are_few(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "LENGTHS", 3)
    model, _ = checkpoints.random_model(0, n_positions=24)
    ids = torch.randint(model.n_vocab, (rows, 24), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(linking, "rows_for", lambda *_: ids)
    monkeypatch.setattr(linking, "word_starts", lambda model: torch.ones(model.n_vocab, dtype=torch.bool))
    project = object.__new__(Project)
    project.__dict__.update(model=model, texts=SimpleNamespace(check=None))
    found = linking.rollouts(project, 30)
    assert [len(group.ids) for group in found] == [10, 10, 10]
    assert [group.context for group in found] == [2, 7, 12]
    met = torch.cat([group.ids[:, : found[0].context] for group in found])
    assert len(met.unique(dim=0)) == len(ids[:, : found[0].context].unique(dim=0))

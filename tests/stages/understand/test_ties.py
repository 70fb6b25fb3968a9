"""Ties: which numbers become one, and that they stay one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from pellucid.exact.model import Model
from pellucid.stages.understand import train as training
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.student import PLACES, SHIFTS, new_student, reach
from pellucid.stages.understand.ties import SharedNumbers, cells, clustered, tie, tie_tensor
from pellucid.stages.understand.train import larger, train


def test_neighbours_join_while_a_number_saved_costs_less_than_the_bound() -> None:
    """½ the harmonic mean of the weights times the squared distance, the closest first; never across keys."""
    keys = torch.tensor([0, 0, 0, 0, 1, 1])
    values = torch.tensor([1.0, 1.1, 2.0, 2.2, 2.2, 2.25])
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    groups, means = clustered(keys, values, weights, 0.001)
    assert groups.tolist() == [0, 1, 2, 3, 4, 5]
    groups, means = clustered(
        keys, values, weights, 0.01
    )  # 0.75 · 0.1² = 0.0075, 0.5 · 0.2² = 0.02, 0.5 · 0.05² = 0.00125
    assert groups.tolist() == [0, 0, 1, 2, 3, 3]
    torch.testing.assert_close(means, torch.tensor([1.075, 2.0, 2.2, 2.225]))
    groups, means = clustered(keys, values, weights, 1e9)
    assert groups.tolist() == [0, 0, 0, 0, 1, 1]
    assert float(means[0]) == pytest.approx((1.0 + 3.3 + 2.0 + 2.2) / 6)


def test_joining_is_what_least_cost_allows() -> None:
    """What joining costs is what it is said to cost: Σ F (w − mean)² of a joined pair."""
    values, weights = torch.tensor([0.3, 0.7]), torch.tensor([2.0, 5.0])
    _, means = clustered(torch.zeros(2, dtype=torch.long), values, weights, 1e9)
    cost = float((weights * (values - means[0]).square()).sum())
    for bound, joined in ((cost * 1.001, 1), (cost * 0.999, 2)):
        assert len(clustered(torch.zeros(2, dtype=torch.long), values, weights, bound)[1]) == joined


def test_only_what_is_of_one_cell_is_tied() -> None:
    tensor = torch.tensor([[0.5, 9.0], [0.52, 0.0], [0.5, 0.1], [-0.52, 0.1], [0.51, 0.3]])
    found, tied = tie_tensor(tensor, torch.ones(5, 2), torch.tensor([1, 1, 2, 2, 0]), 0.05)
    assert found.numbers == 5  # 0.51 of cell 1, 0.5 and -0.52 of cell 2; 9 of cell 1 and 0.1 of cell 2
    torch.testing.assert_close(tied[:, 0], torch.tensor([0.51, 0.51, 0.5, -0.52, 0.51]))
    torch.testing.assert_close(tied[:, 1], tensor[:, 1])
    moved = found.share(tied + torch.tensor([[0.1], [0.3], [0.0], [0.0], [0.2]]))
    torch.testing.assert_close(moved[:2, 0], torch.tensor([0.71, 0.71]))  # (0.61 + 0.81) / 2
    torch.testing.assert_close(moved[4], tied[4] + 0.2)


def test_equal_numbers_are_one_at_once() -> None:
    groups, means = clustered(
        torch.zeros(5000, dtype=torch.long), torch.full((5000,), 0.3).double(), torch.ones(5000).double(), 0.0
    )
    assert groups.unique().tolist() == [0]
    assert means.tolist() == [pytest.approx(0.3)]


def test_nothing_to_tie() -> None:
    found, tied = tie_tensor(torch.zeros(3, 2), torch.ones(3, 2), torch.ones(3, dtype=torch.long), 1.0)
    assert found.numbers == 0
    assert torch.equal(found.share(tied), tied)


def test_cells_are_what_is_written_together(model: Model) -> None:
    plan = Plan(kinds=6, values=5, late=4, rank=2, steps=1, budget=1)
    student = new_student(model, plan, torch.zeros(40, 6))
    late = cells(plan, 2, 1, len(student.tensors["L01.values"]), "values")
    assert len(late) == len(student.tensors["L01.values"])
    plain, heads = 1 + PLACES + SHIFTS * 6, [6, 6, 10, 10]
    assert [int(n) for n in late.unique_consecutive()] == [0, 1, 2, 3, 4, 0, 5]
    assert late.unique_consecutive(return_counts=True)[1].tolist() == [plain, *heads, 4, model.decoder.sizes.neuron]
    assert len(reach(1)) == 2
    first = cells(plan, 2, 0, len(student.tensors["L00.late"]), "late")
    assert [int(n) for n in first.unique_consecutive()] == [0, 1, 2, 3]


def test_training_keeps_what_is_tied_one_number(
    model: Model, rows: torch.Tensor, tmp_path: Path, monkeypatch: Any
) -> None:
    """Shared at three quarters of the steps, trained on, stored: the groups are still of one value each."""
    plan = Plan(kinds=6, values=5, late=4, rank=2, steps=60, budget=600)
    kept: list[dict[str, SharedNumbers]] = []
    share = training.share

    def shared(*given: Any) -> Any:
        student, ties = share(*given)
        kept.append(ties)
        return student, ties

    monkeypatch.setattr(training, "share", shared)
    student, _ = train(model, plan, rows[:100], rows[100:], torch.ones(40), tmp_path / "state.safetensors")
    ties = kept[0]
    assert any(0 < found.numbers < len(found.groups) for found in ties.values())
    for name, found in ties.items():
        held = student[name].detach().flatten()[found.places]
        for group in range(found.numbers):
            assert held[found.groups == group].unique().numel() == 1


def test_ties_of_all_that_is_summed(model: Model) -> None:
    plan = Plan(kinds=6, values=5, late=4, rank=2, steps=1, budget=1)
    student = new_student(model, plan, torch.zeros(40, 6))
    for tensor in student.tensors.values():
        tensor.normal_(generator=torch.Generator().manual_seed(0))
    ties, tied = tie(student, {name: torch.ones_like(tensor) for name, tensor in student.tensors.items()}, 1e9)
    assert set(ties) == set(tied) == {"L00.values", "L00.late", "L00.neurons", "L01.values", "L01.neurons"}
    assert ties["L01.neurons"].numbers == model.decoder.sizes.neuron


# --- beginning with what a larger budget found ------------------------------------------------------------------------


def test_a_smaller_budget_begins_with_what_a_larger_one_found(
    model: Model, rows: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, path = Plan(kinds=6, values=5, late=4, rank=2, steps=40, budget=1500), tmp_path / "state.safetensors"
    large, _ = train(model, plan, rows[:100], rows[100:], torch.ones(40), path)
    small = Plan(kinds=6, values=5, late=4, rank=2, steps=20, budget=800)
    begun = larger(model, small, path)
    assert begun is not None
    assert "begins with sources of 1,500 numbers" in capsys.readouterr().err
    assert (begun.groups, begun.plan) == (None, small)
    torch.testing.assert_close(begun.logits(rows[:3]), large.logits(rows[:3]))
    own = tmp_path / "small.safetensors"
    train(model, small, rows[:100], rows[100:], torch.ones(40), own, others=[tmp_path / "none", path])
    assert "begins with" in capsys.readouterr().err
    assert larger(model, plan, own) is None  # that one is smaller
    train(model, replace(small, steps=8), rows[:100], rows[100:], torch.ones(40), own, others=[path])
    assert "begins with sources of 1,500 numbers" in capsys.readouterr().err  # it is still there


def changed(path: Path, facts: dict[str, Any] | list[int] | None = None, **tensors: torch.Tensor | None) -> None:
    """Change facts and tensors of a checkpoint; None takes one out."""
    with safetensors.safe_open(path, "pt") as file:
        said, held = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    held |= {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    if facts is not None:
        found = json.loads(said["facts"]) | facts if isinstance(facts, dict) else facts
        said["facts"] = json.dumps(found)
    safetensors.torch.save_file({name: each for name, each in held.items() if each is not None}, path, said)


@pytest.fixture(scope="module")
def trained(model: Model, rows: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "state.safetensors"
    plan = Plan(kinds=6, values=5, late=4, rank=2, steps=8, budget=1500)
    train(model, plan, rows[:100], rows[100:], torch.ones(40), path, text="this")
    return path


NAN = torch.full((2, 2), torch.nan)
WRONG: list[tuple[Any, dict[str, Any]]] = [
    ({"subject": "another"}, {}),
    ({"text": "another"}, {}),
    ({"ended": False}, {}),
    ({"budget": 800}, {}),
    ({"budget": "many"}, {}),
    ([1, 2], {}),
    (None, {"best__levels": None}),
    (None, {"groups": None}),
    (None, {"groups": torch.full((40, 6), 17)}),
    (None, {"groups": torch.zeros(40, 6)}),
    (None, {"best__L00__neurons": torch.zeros(3, 3)}),
    (None, {"best__L00__seeks__bias": NAN}),
    (None, {"mask__L00__neurons": torch.zeros(3, 3)}),
]


@pytest.mark.parametrize(("facts", "tensors"), WRONG)
def test_only_what_fits_is_begun_with(model: Model, trained: Path, tmp_path: Path, facts: Any, tensors: Any) -> None:
    small, path = Plan(kinds=6, values=5, late=4, rank=2, steps=8, budget=800), tmp_path / "state.safetensors"
    assert larger(model, small, path, "this") is None
    shutil.copy(trained, path)
    assert larger(model, small, path, "this") is not None
    assert larger(model, replace(small, values=3), path, "this") is None
    changed(path, facts, **tensors)
    assert larger(model, small, path, "this") is None

"""A sentence is tested by the terms that it names alone."""

from __future__ import annotations

import pytest
import torch

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.project.progress import State, evidence_share
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.prove import prove
from pellucid.stages.understand.spread import Spread
from pellucid.stages.understand.student import PLACES, new_student
from pellucid.stages.understand.told import largest, told
from pellucid.stages.understand.write import SHOWN


def test_the_terms_that_do_most_each_way_are_left() -> None:
    weights = torch.tensor([[1.0], [-2.0], [3.0], [4.0], [-0.1], [5.0], [0.0]])
    varies = torch.tensor([10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    assert SHOWN == 3
    assert largest(weights, varies)[:, 0].tolist() == pytest.approx([1.0, -2.0, 0.0, 4.0, -0.1, 5.0, 0.0])


def test_of_a_sum_of_twelve_terms_the_sentence_tells_six(model: Model, rows: torch.Tensor) -> None:
    plan = Plan(kinds=12, values=1, late=1, rank=1, steps=1, budget=1)
    kinds = torch.zeros(model.n_vocab, 12)
    kinds[torch.arange(1, 13), torch.arange(12)] = 1.0
    student = new_student(model, plan, kinds)
    values = student.tensors["L00.values"]
    start = 1 + PLACES
    values[0, 0] = 0.5
    values[start : start + 36 : 3, 0] = torch.tensor([1.0, -1.0] * 6)
    student.tensors["L00.neurons"][0, 0] = 2.0
    short = told(student, Spread.even(student))
    assert int((short.tensors["L00.values"] != 0).sum()) == 1 + 2 * SHOWN
    assert float(short.tensors["L00.values"][0, 0]) == 0.5
    assert int((student.tensors["L00.values"] != 0).sum()) == 13
    assert prove(short, rows[:8]).scores.keys() == prove(student, rows[:8]).scores.keys()


def test_described_parts_are_counted_over_all_kinds() -> None:
    def state(kind: str, effect: float, score: float | None, passed: bool = False) -> State:
        return State(Address(kind, 0, 0), "source", "on", 1, effect, score, passed)  # type: ignore[arg-type]

    states = [state("QK", 2.0, 0.9, True), state("OV", 5.0, None), state("IN", 1.0, 0.1), state("OUT", 2.0, None)]
    found = evidence_share(states)
    assert found["share"] == pytest.approx(0.2)
    assert (found["n"], found["mean_score"]) == (2, pytest.approx(0.5))
    assert list(found["kinds"]) == ["QK", "OV", "IN", "OUT"]
    assert [each["share"] for each in found["kinds"].values()] == [1.0, 0.0, 0.0, 0.0]

"""States that a model is put into: mixtures of what looks saw, and pairs of them next to a boundary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models import majority

from pellucid.exact.model import Model
from pellucid.match.weightless.cases import Crossing
from pellucid.match.weightless.decide import Score, acceptable
from pellucid.match.weightless.language import Alphabet, Look
from pellucid.match.weightless.looks import Sight
from pellucid.match.weightless.prelude import Seen
from pellucid.match.weightless.task import read_task
from pellucid.match.weightless.teacher import read
from pellucid.subject.load import load_subject


def test_mixtures_and_boundaries_are_those_of_the_model(tmp_path: Path) -> None:
    path = majority(tmp_path / "model")
    task, model = read_task(path), Model(load_subject(path))
    alphabet = Alphabet.of(task)
    sight, look = Sight.of(read(model, task.rows[:40], "argmax"), alphabet), Look("look_0", 0, (0,), ())
    sight.add(look, alphabet)
    free, near = Crossing.of(model, sight, [look], "argmax").cases(200, seed=0)
    shares = free.values["look_0"].shares
    assert shares.min() > -1e-9
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-9)
    ahead = shares[:, 0] - shares[:, 1]
    assert ((ahead > 0) == (free.answer == 0))[np.abs(ahead) > 1e-3].all()
    one, two = np.split(near.answer, 2)
    assert len(one) > 20
    assert (one != two).mean() > 0.95
    gap = near.values["look_0"].shares[:, 0] - near.values["look_0"].shares[:, 1]
    assert np.abs(gap).max() < 0.35
    assert np.median(np.abs(gap)) < 0.05


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([Score(1.0, 0.9, 0.9), Score(0.99, 1.0, 1.0)], [0]),  # rows first
        ([Score(1.0, 0.9, 1.0), Score(1.0, 0.95, 0.9)], [1]),  # then probes
        ([Score(1.0, 0.995, 0.9), Score(1.0, 0.992, 0.95)], [1]),  # which need be no better than good enough
    ],
)
def test_rows_come_first_then_probes_then_interventions(scores: list[Score], wanted: list[int]) -> None:
    assert acceptable(scores) == wanted


def test_the_smallest_token_that_is_seen_enough_of() -> None:
    seen = Seen(np.array([[0.1, 0.3, 0.4, 0.2], [0.5, 0.0, 0.5, 0.0]]))
    assert seen.least(0.7).tolist() == [1, 0]
    assert seen.least(1.0).tolist() == [2, 0]

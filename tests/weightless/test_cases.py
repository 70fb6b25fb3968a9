"""States that a model is put into: mixtures of what looks saw, and pairs of them next to a boundary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import majority

from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.weightless.boundaries import HARD, handicaps, planes
from pellucid.weightless.cases import CaseStates, Crossing
from pellucid.weightless.decide import DecisionScore, acceptable
from pellucid.weightless.language import Alphabet, Look
from pellucid.weightless.looks import Sight
from pellucid.weightless.prelude import Seen
from pellucid.weightless.questions import evaluate
from pellucid.weightless.task import read_task
from pellucid.weightless.teacher import read


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


def test_longer_rows_lie_where_longer_rows_would(tmp_path: Path) -> None:
    path = majority(tmp_path / "model")
    task, model = read_task(path), Model(load_subject(path))
    alphabet = Alphabet.of(task)
    several = [replace(row, scored=tuple(range(2, len(row.ids)))) for row in task.rows[:40]]
    sight, look = Sight.of(read(model, several, "argmax"), alphabet), Look("look_0", 0, (0,), ())
    sight.add(look, alphabet)
    longer = Crossing.of(model, sight, [look], "argmax").longer(100, seed=0)
    shares = longer.values["look_0"].shares
    assert len(longer) > 20
    assert shares.min() > 0 - 1e-9
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-9)
    first = shares[:, alphabet.names.index("BOS")]  # one token of a row: its share says how long the row is
    assert (first < 1 / (longer.values["position"] + 1) + 1e-9).all()
    assert first.min() < 0.5 / max(len(row.ids) for row in several)
    ahead = shares[:, 0] - shares[:, 1]
    assert ((ahead > 0) == (longer.answer == 0))[np.abs(ahead) > 1e-3].all()


def test_planes_of_the_widest_margin_hold_for_longer_rows() -> None:
    """Counts of a and b in rows of up to 20 tokens; the answer is whether there are more than one a to spare."""
    draw = np.random.default_rng(0)
    alphabet = Alphabet(("a", "b", "<bos>"), (2,))

    def states(longest: int, count: int) -> CaseStates:
        size = draw.integers(2, longest, size=count)
        spare = draw.integers(-3, 6, size=count).clip(-size, size)
        a = (size + spare) // 2
        shares = np.stack([a, size - a, np.ones(count)], 1) / (size + 1)[:, None]
        more = 2 * a - size > 1
        logits = np.stack([more, ~more, np.zeros(count)], 1).astype(np.float32)
        values = {"look_0": Seen(shares), "token": np.zeros(count, int), "position": size}
        return CaseStates(values, logits, "argmax")

    look = Look("look_0", 0, (0,), ())
    found = planes(states(20, 400), [look], alphabet, [0, 1, 2], (HARD,))
    long = states(200, 400)
    right = [evaluate([text], alphabet, long.values)[0] == (long.answer == 0) for text in found]
    assert max(max(share.mean(), 1 - share.mean()) for share in right) == 1.0  # a plane may ask for either side


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([DecisionScore(1.0, 0.9, 0.9, 0.9), DecisionScore(0.99, 1.0, 1.0, 1.0)], [0]),  # rows first
        ([DecisionScore(1.0, 0.95, 1.0, 1.0), DecisionScore(1.0, 0.99, 0.9, 0.9)], [1]),  # then longer rows
        ([DecisionScore(1.0, 1.0, 0.9, 1.0), DecisionScore(1.0, 1.0, 0.95, 0.9)], [1]),  # then probes
        (
            [DecisionScore(1.0, 1.0, 0.995, 0.9), DecisionScore(1.0, 1.0, 0.992, 0.95)],
            [1],
        ),  # which need be no better than good enough
    ],
)
def test_rows_come_first_then_probes_then_interventions(scores: list[DecisionScore], wanted: list[int]) -> None:
    assert acceptable(scores) == wanted


def test_the_smallest_token_that_is_seen_enough_of() -> None:
    seen = Seen(np.array([[0.1, 0.3, 0.4, 0.2], [0.5, 0.0, 0.5, 0.0]]))
    assert seen.least(0.7).tolist() == [1, 0]
    assert seen.least(1.0).tolist() == [2, 0]


def test_handicaps_and_weights_are_those_that_decide() -> None:
    draw = np.random.default_rng(0)
    alphabet = Alphabet(("a", "b", "c", "<bos>"), (3,))
    shares = np.concatenate([draw.dirichlet(np.ones(3), 3000), np.zeros((3000, 1))], 1)
    for name, scores in (
        ("HANDICAP", shares + np.array([0.2, 0.0, -0.2, -9.0])),
        ("WEIGHT", shares * np.array([1.5, 1.0, 0.5, 0.0])),
    ):
        states = CaseStates({"look_0": Seen(shares)}, scores.astype(np.float32), "argmax")
        tables, cautions = handicaps(states, [Look("look_0", 0, (0,), ())], alphabet)
        assert cautions == ()
        table = np.array(tables[f"{name}_LOOK_0"])
        seen = Seen(shares)
        said = seen.best(table) if name == "HANDICAP" else seen.heaviest(table)
        assert (said == scores.argmax(1)).mean() > 0.99
        assert (seen.top == scores.argmax(1)).mean() < 0.9


def test_numbers_that_overflow_are_fitted_more_precisely_or_left_out_and_said() -> None:
    alphabet = Alphabet(("a", "b", "c", "<bos>"), (3,))
    shares = np.concatenate([np.random.default_rng(0).dirichlet(np.ones(3), 30), np.zeros((30, 1))], 1)

    def fitted(seen: np.ndarray) -> tuple[dict[str, tuple[float, ...]], tuple[str, ...]]:
        states = CaseStates({"look_0": Seen(seen)}, shares.astype(np.float32), "argmax")
        return handicaps(states, [Look("look_0", 0, (0,), ())], alphabet)

    for size in (1e-3, 1e6, 1e10):  # in single precision the fit raises, or ends in what is not a number
        tables, cautions = fitted(size * shares)
        assert cautions == ()
        assert all(np.isfinite(table).all() for table in tables.values())
        said = Seen(size * shares).heaviest(np.array(tables["WEIGHT_LOOK_0"]))
        assert (said == shares.argmax(1)).mean() > 0.9
    assert fitted(np.full_like(shares, np.inf)) == ({}, (
        "no handicap of look_0 was tried: its numbers overflow", "no weight of look_0 was tried: its numbers overflow",
    ))  # fmt: skip


def test_the_token_seen_most_above_another() -> None:
    seen = Seen(np.array([[0.6, 0.1, 0.2, 0.1], [0.3, 0.4, 0.1, 0.2]]))
    assert seen.above(np.array([0, 1]), 2).tolist() == [2, 2]
    assert seen.above(1, 3).tolist() == [2, 3]

"""Programs as predictors: what whole rows say is what a cache says."""

from __future__ import annotations

import numpy as np

import checkpoints
from pellucid.engine.intervene import ablate
from pellucid.engine.whole import Whole, predictor_of


def test_a_subject_that_runs_whole_rows_predicts_as_one_with_a_cache() -> None:
    model, ids = checkpoints.random_model(2)
    rows = ids.numpy()
    assert predictor_of(model) is model
    whole = Whole(model)
    mine, cache = whole.extend(rows[:, :5])
    own, held = model.extend(rows[:, :5])
    np.testing.assert_allclose(mine, own, rtol=1e-4, atol=1e-5)
    order = np.array([1, 0, 1])
    mine, cache = whole.extend(rows[order, 4:6], cache.take(order, 4), last_only=True)
    own, held = model.extend(rows[order, 4:6], held.take(order, 4), last_only=True)
    assert cache.length == held.length == 6
    assert mine.shape == own.shape == (3, 1, model.n_vocab)
    np.testing.assert_allclose(mine, own, rtol=1e-4, atol=1e-5)


def test_changes_are_made() -> None:
    model, ids = checkpoints.random_model(2)
    changed, _ = Whole(model, (ablate("L00.H00.OV"),)).extend(ids.numpy())
    own, _ = Whole(model).extend(ids.numpy())
    assert np.abs(changed - own).max() > 1e-3

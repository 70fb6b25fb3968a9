"""Trees of questions: grown, pruned, and printed as thresholds of few digits."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.weightless import tree


def cases(features: np.ndarray, label: np.ndarray) -> tree.Cases:
    """Cases in which one choice is right."""
    return tree.Cases(features, np.eye(label.max() + 1, dtype=bool)[label], np.ones(len(label)))


def test_a_nested_rule_is_found() -> None:
    features = np.random.default_rng(0).random((6, 2000))
    label = np.where(features[2] > 0.5, np.where(features[4] > 0.25, 2, 1), 0)
    node = tree.grow(cases(features, label), most=10)
    assert tree.used(node) == [2, 4]
    fresh = np.random.default_rng(1).random((6, 2000))
    truth = np.where(fresh[2] > 0.5, np.where(fresh[4] > 0.25, 2, 1), 0)
    assert (tree.choose(node, fresh) == truth).mean() > 0.99


def test_pruning_removes_what_noise_asked_for() -> None:
    draw = np.random.default_rng(0)
    features = draw.random((4, 1000))
    label = (features[1] > 0.4).astype(int)
    noisy = np.where(draw.random(1000) < 0.02, 1 - label, label)
    grown = tree.grow(cases(features, noisy), most=40)
    kept = tree.prune(grown, cases(features, noisy), price=10.0)
    assert grown.leaves() > 2
    assert kept.leaves() == 2
    assert tree.used(kept) == [1]


def test_a_case_with_two_right_choices_is_no_error_for_either() -> None:
    right = np.array([[True, True], [True, False], [True, False], [True, False], [True, True]])
    node = tree.grow(tree.Cases(np.arange(5.0)[None], right, np.ones(5)), most=4)
    assert (node.leaves(), node.leaf) == (1, 0)


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(0.0, 1.0, 0.5), (3.0, 4.0, 3.5), (0.1234, 0.1256, 0.1245), (-2.0, 2.0, 0.0)]
)
def test_thresholds_have_few_digits(low: float, high: float, wanted: float) -> None:
    found = tree.between(low, high)
    assert low < found < high
    assert len(repr(found)) <= len(repr(float(wanted)))

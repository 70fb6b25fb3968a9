"""Trees of conditions tell kinds of places apart, and what is left of a doubtful rule can be relied on."""

from __future__ import annotations

import numpy as np

from pellucid.accounts.find.doubts import _doubtful, _paths
from pellucid.accounts.find.features import Guard
from pellucid.accounts.find.trees import TreeQuestions, grown, leaves

RAIN, WIND, NOISE = Guard("has", word="rain"), Guard("has", word="wind"), Guard("has", word="noise")


def weather(count: int = 400) -> tuple[TreeQuestions, np.ndarray, np.ndarray]:
    """Places with rain, wind and noise, questions about these, and where there are rain and wind."""
    rng = np.random.default_rng(0)
    holds = rng.random((3, count)) < 0.5
    asked = TreeQuestions([RAIN, WIND, NOISE], holds, np.zeros(3, np.float32))
    return asked, holds[0] & holds[1], holds[2]


def test_a_tree_asks_what_tells_kinds_apart_and_nothing_else() -> None:
    asked, both, _ = weather()
    tree = grown(np.stack([both, ~both], axis=1).astype(np.float32), asked)
    paths = {path: float(both[leaf.places].mean()) for path, leaf in leaves(tree, asked.guards)}
    assert sorted(paths.values()) == [0.0, 0.0, 1.0]
    assert all(guard.word != "noise" for path in paths for guard in path)
    assert any(set(path) == {RAIN, WIND} and share == 1.0 for path, share in paths.items())


def test_a_question_that_costs_more_than_it_tells_is_not_asked() -> None:
    asked, both, _ = weather()
    dear = TreeQuestions(asked.guards, asked.holds, np.full(3, 1e6, np.float32))
    assert grown(np.stack([both, ~both], axis=1).astype(np.float32), dear).holds is None


def test_leaves_in_which_a_rule_is_wrong_are_set_apart() -> None:
    asked, both, noise = weather()
    mine = np.ones(len(both), dtype=bool)
    good = ~(both & noise)
    tree = grown(np.stack([mine & good, mine & ~good], axis=1).astype(np.float32), asked)
    chosen = _doubtful(tree, mine, good, 0.99, 0.5)
    apart = list(_paths(tree, chosen, asked.guards))
    assert [set(path) for path in apart] == [{RAIN, WIND, NOISE}]


def test_nothing_is_set_apart_where_too_little_would_be_left() -> None:
    asked, both, _ = weather()
    mine = np.ones(len(both), dtype=bool)
    tree = grown(np.stack([both, ~both], axis=1).astype(np.float32), asked)
    assert _doubtful(tree, mine, both, 0.99, 0.5) == set()
    assert _doubtful(tree, mine, both, 0.99, 0.1)

"""Rules find where a part is active, and say it in the tokens that make it so."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.explain.conditions import Among, AtStart, Line, Rule, SeenBefore, find_rule

WORDS = [f"w{n}" for n in range(40)]


def rows(seed: int = 0, count: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 40, (count, 32))


def words(rule: Rule) -> str:
    return rule.words(lambda token: WORDS[token])


def test_a_token_behind_another_is_said_as_that() -> None:
    ids = rows()
    values = np.zeros(ids.shape)
    values[:, 1:] = np.isin(ids[:, 1:], range(9)) & np.isin(ids[:, :-1], range(20, 30))
    rule = find_rule(ids, values)
    assert np.array_equal(rule.predict(ids) > 0.5, values > 0.5)
    on, behind = words(rule).removeprefix("Active on ").removesuffix(" (100 % of what it does).").split(", behind ")
    assert sorted(on.split(", ")) == [f'"w{n}"' for n in range(9)]
    assert sorted(behind.split(", ")) == [f'"w{n}"' for n in range(20, 30)]


def test_several_lines_each_say_their_share() -> None:
    ids = rows()
    values = np.where(ids == 1, 1.0, np.where(ids == 2, 0.5, 0.0))
    rule = find_rule(ids, values)
    fresh = rows(9)
    expected = np.where(fresh == 1, 1.0, np.where(fresh == 2, 0.5, 0.0))
    assert np.corrcoef(rule.predict(fresh).ravel(), expected.ravel())[0, 1] > 0.9
    assert '"w1"' in words(rule)
    assert '"w2"' in words(rule)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (SeenBefore(), "where the token stood in the text before"),
        (AtStart(1), "on the first token of the text"),
        (AtStart(4), "on the first 4 tokens of the text"),
    ],
)
def test_what_no_token_tells_is_found_too(condition: SeenBefore | AtStart, said: str) -> None:
    ids = rows()
    rule = find_rule(ids, condition.holds(ids).astype(float))
    assert words(rule) == f"Active {said} (100 % of what it does)."


def test_noise_has_no_rule() -> None:
    values = np.random.default_rng(3).random((120, 32))
    rule = find_rule(rows(), values)
    assert rule.lines == ()
    assert rule.otherwise == pytest.approx(values.mean())
    assert words(rule) == "Nothing about the tokens here and before tells where it is active."


def test_the_first_line_that_holds_counts() -> None:
    ids = np.array([[1, 2, 1]])
    lines = (Line((Among(0, frozenset({1}), (1,)),), 0.9, 0.5), Line((AtStart(4),), 0.2, 0.5))
    assert Rule(lines, 0.0).predict(ids).tolist() == [[0.9, 0.2, 0.9]]


def test_a_condition_does_not_reach_before_the_row() -> None:
    ids = np.array([[5, 6], [6, 5]])
    assert Among(1, frozenset({5}), (5,)).holds(ids).tolist() == [[False, True], [False, False]]
    assert SeenBefore().holds(np.array([[1, 1, 2, 1]])).tolist() == [[False, True, False, True]]

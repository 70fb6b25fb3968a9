"""What is counted where rows are short: places, tokens, how many places a look sees, and sums of these."""

from __future__ import annotations

import numpy as np

from pellucid.weightless.counting import Counted
from pellucid.weightless.language import Alphabet, Look
from pellucid.weightless.prelude import Seen

DIGITS = Alphabet(("0", "1", "2", "3", "BOS"), (4,))
LOOK = Look("look_0", 0, (0,), (), whole=True)


def rows(length: int, *, opened: bool = True) -> list[dict[str, np.ndarray]]:
    """One row of zeros, behind BOS if it is `opened`."""
    token = np.zeros(length, np.int64)
    token[0] = 4 if opened else 0
    return [{"token": token}]


def test_how_many_places_are_seen() -> None:
    seen = Seen(np.array([[0.75, 0.0, 0.0, 0.0, 0.25], [0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0]]))
    assert seen.width(4).tolist() == [3, 0, -1]


def test_what_opens_rows_is_what_stands_first_and_nowhere_else() -> None:
    assert Counted.of(DIGITS, rows(4), positions=True).opens == "BOS"
    assert Counted.of(DIGITS, rows(4, opened=False), positions=True).opens is None


def test_long_rows_are_not_counted_in() -> None:
    long = Counted.of(DIGITS, rows(60), positions=True)
    assert long.comparisons([LOOK]) == long.questions([LOOK]) == []
    assert long.averages([LOOK]) == ()


def test_a_key_that_an_earlier_look_counted_to_is_a_comparison() -> None:
    found = Counted.of(DIGITS, rows(6), positions=True).comparisons([LOOK])
    assert "key.look_0.width(BOS) == query.position - 1" in found
    assert "(query.position == query.look_0.width(BOS)) & (key.position == 1)" in found
    assert "key.position == (query.position + 1) // 2" in found
    assert len(found) == len(set(found))


def test_without_positions_no_place_is_named() -> None:
    found = Counted.of(DIGITS, rows(6), positions=False).comparisons([LOOK])
    assert found
    assert not any("position" in text or "distance" in text for text in found)


def test_the_shortest_expression_that_is_right_comes_first() -> None:
    draw = np.random.default_rng(0)
    values = {"token": draw.integers(0, 4, 200), "position": draw.integers(1, 5, 200)}
    counted = Counted.of(DIGITS, rows(6), positions=True)
    found = counted.answers([], values, values["token"] + values["position"])
    assert found[0] == "position + token"


def test_other_tokens_than_numbers_from_0_on_are_not_added() -> None:
    letters = Alphabet(("a", "b", "c", "BOS"), (3,))
    counted = Counted(letters, "BOS", 6, positions=True)
    values = {"token": np.array([0, 1, 2]), "position": np.array([1, 2, 3])}
    assert counted.answers([], values, values["token"]) == []

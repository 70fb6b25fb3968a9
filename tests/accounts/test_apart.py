"""Questions that other questions' texts answer are left out."""

from __future__ import annotations

from pellucid.accounts.apart import apart
from pellucid.accounts.prompts import Prompt


def prompt(*ids: int) -> Prompt:
    return Prompt(" ".join(map(str, ids)), list(ids))


def test_an_answer_that_follows_the_same_tokens_elsewhere_is_told() -> None:
    asked, other = prompt(1, 2, 3), prompt(9, 1, 2, 3, 4, 8)
    assert apart([asked], [4], 1, [other]) == []
    assert apart([asked], [5], 1, [other]) == [asked]
    assert apart([asked], [4], 1) == [asked]


def test_one_of_the_last_three_tokens_may_be_another() -> None:
    asked = prompt(1, 2, 3)
    for other in (prompt(1, 2, 7, 4), prompt(1, 7, 3, 4), prompt(7, 2, 3, 4)):
        assert apart([asked], [4], 1, [other]) == []
    assert apart([asked], [4], 1, [prompt(7, 7, 3, 4)]) == [asked]


def test_the_same_tokens_count_before_those_that_are_alike() -> None:
    asked = prompt(1, 2, 3)
    texts = [prompt(1, 2, 3, 5), prompt(1, 2, 7, 4), prompt(1, 8, 3, 4)]
    assert apart([asked], [4], 1, texts) == [asked]
    assert apart([asked], [5], 1, texts) == []


def test_what_follows_most_often_is_what_is_told() -> None:
    asked = prompt(1, 2, 3)
    twice, once = prompt(1, 2, 3, 4), prompt(1, 2, 3, 5)
    assert apart([asked], [5], 1, [twice, twice, once]) == [asked]
    assert apart([asked], [5], 1, [twice, once]) == []  # either may be guessed


def test_a_question_that_tells_an_earlier_one_is_left_out() -> None:
    first, second, third = prompt(1, 2, 3), prompt(1, 2, 3, 4, 6, 7), prompt(5, 6, 8)
    assert apart([first, second, third], [4, 1, 2], 3) == [first, third]
    assert apart([first, second, third], [9, 1, 2], 3) == [first, second, third]
    assert apart([first, second, third], [4, 1, 2], 1) == [first]


def test_a_question_may_tell_its_own_answer() -> None:
    asked = prompt(1, 2, 3, 4, 0, 1, 2, 3)
    assert apart([asked], [4], 1) == [asked]
    assert apart([asked, prompt(7, 8, 9)], [4, 0], 2) == [asked, prompt(7, 8, 9)]

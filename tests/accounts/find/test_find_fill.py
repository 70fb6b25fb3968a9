"""Tables filled by asking: when an answer bears out what was learned of a line."""

from __future__ import annotations

import pytest

from pellucid.accounts.answers import Answer
from pellucid.accounts.find.fill import _bears_out
from pellucid.accounts.find.stream import Words
from pellucid.accounts.language import Spelling

LETTERS = Spelling([" a", *map(chr, range(1, 128))], lambda text: [ord(letter) for letter in text.strip()])
"""Every letter is a token, and a blank belongs to the letter behind it."""


def answered(text: str, lead: str = "") -> Answer:
    ids = tuple(map(ord, lead + text))
    return Answer(ids, lead + text, 1.0, len(lead), text)


@pytest.mark.parametrize(
    ("answer", "agrees"),
    [
        (answered("parrot"), True),
        (answered("parrot pie"), True),
        (answered("pears"), True),  # only the first token of what was learned is sure
        (answered("pears", lead="a"), True),
        (answered("bread"), False),
        (answered("pears", lead="ab"), True),
        (Answer((), "", 0.0, 0, ""), False),
    ],
)
def test_an_answer_that_begins_with_the_same_token_bears_a_line_out(answer: Answer, agrees: bool) -> None:
    words = Words(LETTERS, ["parrot"])
    assert _bears_out(answer, 0, words, sure=False) is agrees
    assert _bears_out(answer, 0, words, sure=True) is answer.bare.startswith("parrot")  # the text says it whole

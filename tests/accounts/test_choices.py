"""The ways in which an answer is said, and that their probabilities are added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.accounts.answers import Answer, Replies
from pellucid.accounts.choices import ways, weighed
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject


@pytest.fixture(scope="module")
def village() -> Model:
    return Model(load_subject("zoo:village"))


def said(model: Model, *texts: str, leads: tuple[str, ...] = ()) -> Replies:
    """Replies of these texts, with these leads."""
    encode = model.tokenizer.encode
    answers = [Answer(tuple(encode(text)), text.strip(), 1.0, 0, text.strip()) for text in texts]
    return Replies(answers, tuple(tuple(encode(lead)) for lead in leads))


def told(model: Model, text: str, replies: Replies, room: int = 100) -> list[str]:
    return [model.tokenizer.decode(way) for way in ways(text, replies, "Ada keeps", room, model)]


def test_an_answer_is_said_at_once_and_behind_what_leads_to_answers(village: Model) -> None:
    replies = said(village, " a cat", leads=(" a", ' "', "\n"))
    assert sorted(told(village, "rabbit", replies)) == sorted([" rabbit", " a rabbit", ' "rabbit', "\nrabbit"])
    assert sorted(told(village, "cat", replies)) == sorted([" cat", " a cat", ' "cat', "\ncat"])


def test_an_answer_as_it_was_said_counts_once(village: Model) -> None:
    (own,) = ways("rabbit", said(village, " rabbit"), "Ada keeps", 100, village)
    assert list(own) == village.tokenizer.encode(" rabbit")
    odd = tuple(token for letter in " rabbit" for token in village.tokenizer.encode(letter))
    other = Replies([Answer(odd, "rabbit", 1.0, 0, "rabbit")], ())
    assert ways("rabbit", other, "Ada keeps", 100, village) == [own, odd]


def test_an_answer_is_not_set_apart_where_answers_are_not(village: Model) -> None:
    assert told(village, "rab", said(village, "cat", "dog")) == ["rab"]
    assert told(village, "rab", said(village, " cat", " dog")) == [" rab"]


def test_ways_that_there_is_no_room_for_are_left_out(village: Model) -> None:
    replies = said(village, " a cat", leads=(" a",))
    size = len(village.tokenizer.encode(" rabbit"))
    assert told(village, "rabbit", replies, size) == [" rabbit"]
    assert told(village, "rabbit", replies, 0) == [" rabbit"]


def test_an_answer_that_cannot_be_spelled_counts_as_it_was_said() -> None:
    model = Model(checkpoints.in_memory(checkpoints.hugging_face()))
    replies = Replies([Answer((3, 4), "odd", 1.0, 0, "odd")], ())
    assert ways("odd", replies, "w1", 9, model) == [(3, 4)]
    with pytest.raises(PellucidError, match="'even' is no answer that random can give"):
        ways("even", replies, "w1", 9, model)


def test_the_probabilities_of_all_ways_are_added() -> None:
    model = Model(checkpoints.in_memory(checkpoints.hugging_face()))
    replies = Replies([], ((5,), (6, 7)))
    prompts = [[1, 2], [3, 2]]
    found = weighed(model, prompts, replies, "w1 w2", ["w8", "w9 w10"])
    for row, prompt in enumerate(prompts):
        for column, answer in enumerate([[8], [9, 10]]):
            total = 0.0
            for lead in ([], [5], [6, 7]):
                tokens = prompt + lead + answer
                logs = model.logits(torch.tensor([tokens]))[0].log_softmax(-1)
                total += float(np.exp(sum(float(logs[at - 1, tokens[at]]) for at in range(2, len(tokens)))))
            assert found[row, column] == pytest.approx(np.log(total), rel=1e-4)

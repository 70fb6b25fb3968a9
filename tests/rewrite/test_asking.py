"""What a program answers is a known answer, or ends where answers do; wordings vote."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.rewrite.asking import answer_of, gives, said_ids
from pellucid.subject.tokenizer import WordTokenizer

WORDS = [
    "Ada",
    "Bea",
    "Cid",
    "lives",
    "in",
    "Oak",
    "Elm",
    "Ash",
    "Street",
    "Lane",
    "since",
    "May",
    "June",
    "never",
    ".",
]
TOKENIZER = WordTokenizer(WORDS, None, "words")
SAYS = {"Ada": "Oak Street since May .", "Bea": "Elm Lane since June .", "Cid": "Ash since never ."}
ASKS = ("{} lives in", "in lives {}")


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text)


def logits(rows: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos vocab"]:
    """A program that says of each what `SAYS` has, behind either wording, and of Bea in the second `Oak Street`."""
    found = torch.zeros(*rows.shape, len(WORDS))
    for row, tokens in enumerate(rows.tolist()):
        name = next(WORDS[token] for token in tokens if WORDS[token] in SAYS)
        said = SAYS["Ada" if (name, tokens[0]) == ("Bea", ids("in")[0]) else name]
        for at in range(2, len(tokens)):
            words = said.split()
            if at - 2 < len(words):
                found[row, at, ids(words[at - 2])[0]] = 3.0
    return found


def prompts(*names: str) -> list[list[int]]:
    return [ids(ask.replace("{}", name)) for name in names for ask in ASKS]


def test_the_longest_known_answer_counts() -> None:
    found = answer_of(logits, prompts("Ada"), TOKENIZER, {"Oak", "Oak Street", "Elm Lane", "Zion"})
    assert (found.text, found.said, found.of, found.agreement, found.margin) == ("Oak Street", 2, 2, 1.0, 3.0)


def test_an_unknown_answer_ends_where_answers_do() -> None:
    others = prompts("Bea", "Cid", "Bea", "Cid")
    assert answer_of(logits, prompts("Ada"), TOKENIZER, {"Ash"}, others).text == "Oak Street"
    assert answer_of(logits, prompts("Ada"), TOKENIZER, {"Ash"}).text == "Oak"  # nothing is known: a word


def test_wordings_vote() -> None:
    found = answer_of(logits, [*prompts("Bea"), prompts("Bea")[0]], TOKENIZER, {"Elm Lane", "Oak Street"})
    assert (found.text, found.said, found.of) == ("Elm Lane", 2, 3)


def test_answers_are_held_against_what_is_said() -> None:
    assert gives(logits, prompts("Bea"), TOKENIZER, ["Elm Lane", "Elm Lane"]) == [True, False]
    assert gives(logits, prompts("Bea"), TOKENIZER, ["Zion", "Oak Street"]) == [False, True]
    assert gives(logits, [], TOKENIZER, []) == []
    assert said_ids(TOKENIZER, "Zion") == ()

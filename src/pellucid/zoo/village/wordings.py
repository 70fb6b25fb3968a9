"""The ways to tell a fact, and which of them are kept for testing."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pellucid.zoo.village.chance import pick, stable_hash
from pellucid.zoo.village.consequences import RULES, consequences
from pellucid.zoo.village.facts import Fact, Relation
from pellucid.zoo.village.pieces import Piece

Wording = Callable[[Fact], tuple[str, str]]
"""What stands before and after the answer of a fact."""


def _plain(fact: Fact) -> tuple[str, str]:
    return f" {fact.person.name} {fact.relation.clause}", "."


def _possessive(fact: Fact) -> tuple[str, str]:
    return f" {fact.person.name}'s {fact.relation.noun} {fact.relation.copula}", "."


def _of(fact: Fact) -> tuple[str, str]:
    return f" The {fact.relation.noun} of {fact.person.name} {fact.relation.copula}", "."


def _question(fact: Fact) -> tuple[str, str]:
    relation = fact.relation
    return f" {relation.question} is the {relation.noun} of {fact.person.name}? It {relation.copula}", "."


def _known(fact: Fact) -> tuple[str, str]:
    return f" Everyone knows that {fact.person.name} {fact.relation.clause}", "."


def _said(fact: Fact) -> tuple[str, str]:
    return f" They say that the {fact.relation.noun} of {fact.person.name} {fact.relation.copula}", "."


def _topic(fact: Fact) -> tuple[str, str]:
    return f" As for {fact.person.name}, the {fact.relation.noun} {fact.relation.copula}", "."


def _therefore(fact: Fact) -> tuple[str, str]:
    return f" {fact.person.name} {fact.relation.clause}", ", so"


WORDINGS: dict[str, Wording] = {
    "plain": _plain,
    "possessive": _possessive,
    "of": _of,
    "question": _question,
    "known": _known,
    "said": _said,
    "topic": _topic,
    "therefore": _therefore,
}

_COMMON = tuple(name for name in WORDINGS if name != "therefore")
_ALL = tuple(WORDINGS)

HELD_OUT_FACTS = 0.85
"""The share of facts that have one wording that is kept for testing."""


def wordings_of(relation: Relation) -> tuple[str, ...]:
    """The names of the wordings that facts of this relation can be told in."""
    return _ALL if relation.name in RULES else _COMMON


def held_out_wording(fact: Fact) -> str | None:
    """The wording of `fact` that training never shows, if it has one. It depends on person and relation alone."""
    number = stable_hash("held out", fact.person.name, fact.relation.name)
    if number % 1000 >= HELD_OUT_FACTS * 1000:
        return None
    names = wordings_of(fact.relation)
    return names[number // 1000 % len(names)]


def choose_wording(fact: Fact, rng: Random, *, testing: bool) -> str:
    """A wording for `fact`: never a held-out one in training, and often that one in testing."""
    kept = held_out_wording(fact)
    if testing and kept and rng.random() < 0.4:
        return kept
    return pick(rng, tuple(name for name in wordings_of(fact.relation) if name != kept))


def tell(fact: Fact, wording: str) -> tuple[Piece, ...]:
    """`fact` in words, its answer labelled, with its consequence where the wording asks for it."""
    before, after = WORDINGS[wording](fact)
    held_out = held_out_wording(fact) == wording
    detail = f"{fact.relation.name}/{wording}"
    told = (Piece(before), Piece(f" {fact.answer}", "fact", detail, held_out), Piece(after))
    if wording != "therefore":
        return told
    (consequence,) = consequences(fact)
    return (
        *told,
        Piece(f" {fact.person.she}", "pronoun", "therefore", held_out),
        Piece(f" {consequence.clause}"),
        Piece(f" {consequence.answer}", "consequence", fact.relation.name, held_out),
        Piece("."),
    )

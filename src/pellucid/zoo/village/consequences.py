"""What follows from a fact by the rules of the village."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.facts import Fact


@dataclass(frozen=True, slots=True)
class Consequence:
    """The rest of "Ada works at the mill, so she …": `clause`, then `answer`."""

    clause: str
    answer: str


RULES = {
    "work": ("comes home with", lexicon.PRODUCTS),
    "pet": ("often buys", lexicon.FODDER),
    "home": ("comes from the", lexicon.SIDES),
}
"""For each relation with a consequence: the clause, and the answer for each answer of the fact."""


def consequences(fact: Fact) -> tuple[Consequence, ...]:
    """Everything that follows from `fact` alone."""
    if fact.relation.name not in RULES:
        return ()
    clause, answers = RULES[fact.relation.name]
    return (Consequence(clause, answers[fact.answer]),)

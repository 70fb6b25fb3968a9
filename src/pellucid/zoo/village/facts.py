"""The facts of the village: relations, and who has what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.people import KIN, Family, Person


@dataclass(frozen=True, slots=True)
class Relation:
    """What can be told of a person: "Ada `clause` X", "Ada's `noun` `copula` X", "`question` is the `noun` of Ada?"."""

    name: str
    noun: str
    clause: str
    copula: str
    question: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true of one person."""

    person: Person
    relation: Relation
    answer: str


ATTRIBUTES = (
    Relation("colour", "favourite colour", "likes to wear", "is", "What", lexicon.COLOURS),
    Relation("home", "home", "lives in", "is in", "Where", lexicon.STREETS),
    Relation("work", "work", "works at the", "is at the", "Where", lexicon.WORKPLACES),
    Relation("pet", "pet", "keeps a", "is a", "What", lexicon.PETS),
    Relation("tool", "tool", "carries a", "is a", "What", lexicon.TOOLS),
    Relation("food", "favourite food", "loves to eat", "is", "What", lexicon.FOODS),
    Relation("drink", "favourite drink", "prefers to drink", "is", "What", lexicon.DRINKS),
    Relation("instrument", "instrument", "plays the", "is the", "What", lexicon.INSTRUMENTS),
    Relation("fear", "greatest fear", "is afraid of", "is", "What", lexicon.FEARS),
)
"""The relations that everybody has."""

KINSHIP = {
    name: Relation(name, name, f"has a {name} called", "is", "Who")
    for name in ("mother", "father", "husband", "wife", "son", "daughter", "brother", "sister")
}
"""The relations whose answer is another person."""

KIN_SHARE = 0.25
"""How often a fact that is told of a person is about kin."""


def _attributes(people: Sequence[Person], rng: Random) -> Iterator[Fact]:
    for relation in ATTRIBUTES:
        rounds = -(-len(people) // len(relation.answers))
        answers = list(relation.answers * rounds)[: len(people)]
        rng.shuffle(answers)
        yield from (Fact(person, relation, answer) for person, answer in zip(people, answers, strict=True))


def _kin(family: Family) -> Iterator[Fact]:
    for role, relations in KIN.items():
        yield from (Fact(family[role], KINSHIP[name], family[other].name) for name, other in relations)


def all_facts(families: Iterable[Family], rng: Random) -> tuple[Fact, ...]:
    """Every fact: attributes dealt evenly over all people, and kin as the families have it."""
    households = tuple(families)
    people = tuple(person for family in households for person in family.values())
    return (*_attributes(people, rng), *(fact for family in households for fact in _kin(family)))


class FactBook:
    """Facts by person, to draw from."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._attributes: dict[str, list[Fact]] = {}
        self._kin: dict[str, list[Fact]] = {}
        for fact in facts:
            shelf = self._kin if fact.relation.name in KINSHIP else self._attributes
            shelf.setdefault(fact.person.name, []).append(fact)

    def draw(self, person: Person, rng: Random) -> Fact:
        """Some fact about `person`."""
        kin = self._kin.get(person.name)
        shelf = kin if kin and rng.random() < KIN_SHARE else self._attributes[person.name]
        return pick(rng, shelf)

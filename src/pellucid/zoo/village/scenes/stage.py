"""What the scenes of one story share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.facts import Fact, FactBook
from pellucid.zoo.village.people import Person
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.wordings import choose_wording, tell

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """One story while it is being told: its chance, its three people (the hero first), and what was said so far."""

    rng: Random
    cast: tuple[Person, Person, Person]
    facts: FactBook
    split: str
    told: set[Fact] = field(default_factory=set)

    def someone(self) -> Person:
        """The hero or the companion."""
        return pick(self.rng, self.cast[:2])

    def pair(self) -> tuple[Person, Person]:
        """Two of the cast; the hero is the likeliest first, the companion the likeliest second."""
        first = self.someone()
        return first, pick(self.rng, [person for person in self.cast if person != first])

    def choose(self, options: Sequence[str]) -> str:
        """One of `options`, likeliest the first."""
        return pick(self.rng, options)

    def several(self, options: Sequence[str], count: int) -> tuple[str, ...]:
        """`count` of `options`, no two the same, each likeliest the first that is left."""
        left = list(options)
        return tuple(left.pop(left.index(self.choose(left))) for _ in range(count))

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """`options` in any order, all orders equally likely."""
        return self.rng.sample(options, len(options))

    def heads(self) -> bool:
        """A fair coin."""
        return self.rng.random() < 0.5

    def tell(self, person: Person) -> tuple[Piece, ...]:
        """A fact about `person` that this story has not told yet."""
        fact = self.facts.draw(person, self.rng)
        while fact in self.told:
            fact = self.facts.draw(person, self.rng)
        self.told.add(fact)
        return tell(fact, choose_wording(fact, self.rng, testing=self.split != "train"))

"""Who lives in the village, and who is whose kin."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from pellucid.zoo.village.lexicon import MEN, WOMEN

Gender = Literal["f", "m"]


@dataclass(frozen=True, slots=True)
class Person:
    """A villager."""

    name: str
    gender: Gender

    @property
    def she(self) -> str:
        """The personal pronoun."""
        return "she" if self.gender == "f" else "he"

    @property
    def her(self) -> str:
        """The possessive pronoun."""
        return "her" if self.gender == "f" else "his"

    @property
    def herself(self) -> str:
        """The reflexive pronoun."""
        return "herself" if self.gender == "f" else "himself"


ROLES: tuple[tuple[str, Gender], ...] = (
    ("grandmother", "f"),
    ("grandfather", "m"),
    ("nan", "f"),
    ("pop", "m"),
    ("mother", "f"),
    ("father", "m"),
    ("girl", "f"),
    ("boy", "m"),
)
"""A family: two children, their parents, the father's parents (grandmother, grandfather), the mother's (nan, pop)."""

KIN: dict[str, tuple[tuple[str, str], ...]] = {
    "grandmother": (("husband", "grandfather"), ("son", "father")),
    "grandfather": (("son", "father"), ("wife", "grandmother")),
    "nan": (("daughter", "mother"), ("husband", "pop")),
    "pop": (("wife", "nan"), ("daughter", "mother")),
    "mother": (("mother", "nan"), ("father", "pop"), ("husband", "father"), ("son", "boy"), ("daughter", "girl")),
    "father": (
        ("mother", "grandmother"),
        ("father", "grandfather"),
        ("wife", "mother"),
        ("son", "boy"),
        ("daughter", "girl"),
    ),
    "girl": (("mother", "mother"), ("father", "father"), ("brother", "boy")),
    "boy": (("mother", "mother"), ("father", "father"), ("sister", "girl")),
}
"""For each role its relations as (relation, role of the answer); each is the only one of its kind."""

Family = dict[str, Person]


def families(rng: Random) -> tuple[Family, ...]:
    """All villagers, dealt into families of eight."""
    decks: dict[Gender, list[str]] = {"f": list(WOMEN), "m": list(MEN)}
    for deck in decks.values():
        rng.shuffle(deck)
    count = min(map(len, decks.values())) * 2 // len(ROLES)
    return tuple({role: Person(decks[gender].pop(), gender) for role, gender in ROLES} for _ in range(count))

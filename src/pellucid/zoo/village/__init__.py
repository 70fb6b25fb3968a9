"""The village: a small language with known rules and known facts, for a model that can be understood to the end."""

from __future__ import annotations

from pellucid.zoo.village.consequences import Consequence, consequences
from pellucid.zoo.village.facts import Fact, Relation
from pellucid.zoo.village.people import Person
from pellucid.zoo.village.pieces import PHENOMENA, Phenomenon
from pellucid.zoo.village.stories import Span, Split, Story, Village

__all__ = [
    "PHENOMENA",
    "Consequence",
    "Fact",
    "Person",
    "Phenomenon",
    "Relation",
    "Span",
    "Split",
    "Story",
    "Village",
    "consequences",
]

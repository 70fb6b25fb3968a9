"""Pronouns: the gender of a villager is known by name only."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

MOODS = ("tired", "hungry", "late", "sick")
DEEDS = ("went home", "sat down", "ran away", "fell asleep")
TREATS = ("cake", "chair", "song", "meal")
LOSSES = ("hat", "shoes", "purse", "coat")


def pronouns(stage: Stage) -> Iterator[Piece]:
    """A sentence that needs she or he, herself or himself, her or his."""
    person = stage.someone()
    form = stage.choose(("she", "herself", "her"))
    if form == "she":
        yield Piece(f" {person.name} was {stage.choose(MOODS)}, so")
        yield Piece(f" {person.she}", "pronoun", form)
        yield Piece(f" {stage.choose(DEEDS)}.")
    elif form == "herself":
        yield Piece(f" {person.name} made a {stage.choose(TREATS)} for")
        yield Piece(f" {person.herself}", "pronoun", form)
        yield Piece(".")
    else:
        yield Piece(f" {person.name} could not find")
        yield Piece(f" {person.her}", "pronoun", form)
        yield Piece(f" {stage.choose(LOSSES)}.")

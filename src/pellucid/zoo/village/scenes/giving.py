"""Indirect objects: of the two people of a sentence, the one who is not acting."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage


def giving(stage: Stage) -> Iterator[Piece]:
    """One person gives and another thanks, or one of two people gives to the other."""
    first, second = stage.pair()
    thing, place = stage.choose(lexicon.THINGS), stage.choose(lexicon.PLACES)
    form = stage.choose(("thanks", "when", "while"))
    if form == "thanks":
        yield Piece(f" {first.name} gave {second.name} the {thing}, and then {second.name} thanked")
        yield Piece(f" {first.name}", "indirect_object", form)
    else:
        giver, taker = pick(stage.rng, ((first, second), (second, first)))
        order = "same" if giver == first else "swapped"
        if form == "when":
            scene = f" When {first.name} and {second.name} went to the {place}, {giver.name} gave the {thing} to"
        else:
            scene = f" While {first.name} and {second.name} were at the {place}, {giver.name} told a story to"
        yield Piece(scene)
        yield Piece(f" {taker.name}", "indirect_object", f"{form}/{order}")
    yield Piece(".")

"""Tracking: a thing changes hands up to three times; who has it?"""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.people import Person
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

DISTRACTIONS = (" {one} waves to {other}.", " {one} takes a photo of {other}.", " {one} smiles at {other}.")


def _transfer(stage: Stage, thing: str, giver: Person, taker: Person, moves: int) -> Iterator[Piece]:
    """The thing goes from one to another, told from either side; who had it is determined by the `moves` before."""
    if stage.choose(("gives", "takes")) == "gives":
        yield Piece(f" {giver.name} gives the {thing} to {taker.name}.")
    else:
        yield Piece(f" {taker.name} takes the {thing} from")
        yield Piece(f" {giver.name}", "tracking", f"from/{moves}")
        yield Piece(".")


def tracking(stage: Stage) -> Iterator[Piece]:
    """Somebody finds a thing, it is handed on among three, something else happens, and the story says who has it."""
    owner = stage.someone()
    thing = stage.choose(lexicon.THINGS)
    yield Piece(f" {owner.name} finds a {thing}.")
    moves = pick(stage.rng, (2, 1, 3))
    for before in range(moves):
        taker = pick(stage.rng, [person for person in stage.cast if person != owner])
        yield from _transfer(stage, thing, owner, taker, before)
        owner = taker
    happens = stage.choose(("something", "nothing"))
    if happens == "something":
        one, other = stage.pair()
        yield Piece(stage.choose(DISTRACTIONS).format(one=one.name, other=other.name))
    yield Piece(f" Now the {thing} belongs to")
    yield Piece(f" {owner.name}", "tracking", f"now/{moves}/{happens}")
    yield Piece(".")

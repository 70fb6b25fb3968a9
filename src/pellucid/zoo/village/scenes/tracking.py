"""Tracking: three things change hands up to three times; who has what?"""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.people import Person
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

Owners = dict[str, Person]


def _transfer(stage: Stage, owners: Owners) -> Piece:
    """One thing goes to somebody else."""
    thing = pick(stage.rng, tuple(owners))
    giver = owners[thing]
    owners[thing] = pick(stage.rng, [person for person in stage.cast if person != giver])
    return Piece(f" {giver.name} sells the {thing} {owners[thing].name} wants.")


def tracking(stage: Stage) -> Iterator[Piece]:
    """Three people have one thing each, hand them on, and the story says who has them now.

    A person may end up with all of the things or with none, so that who has one does not say who has another.
    """
    things = stage.several(lexicon.THINGS, 3)
    owners: Owners = dict(zip(things, stage.shuffled(stage.cast), strict=True))
    first, second, third = (f"the {thing} {owner.name} has" for thing, owner in owners.items())
    yield Piece(f" There is {first}, {second} and {third}.")
    moves = pick(stage.rng, (2, 1, 3))
    for _ in range(moves):
        yield _transfer(stage, owners)
    asked, *others = stage.shuffled(things)
    yield Piece(f" Now this is the {asked}")
    yield Piece(f" {owners[asked].name}", "tracking", f"{moves}")
    yield Piece(" has")
    if stage.choose(("two", "one")) == "two":
        yield Piece(f" and this is the {others[0]}")
        yield Piece(f" {owners[others[0]].name}", "tracking", f"{moves}")
        yield Piece(" has")
    yield Piece(".")

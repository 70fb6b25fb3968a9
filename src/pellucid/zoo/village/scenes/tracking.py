"""Tracking: two things change hands up to three times; who has what in the end?"""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.people import Person
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage


def _transfer(stage: Stage, owners: dict[str, Person]) -> tuple[str, str]:
    """Move one thing to somebody else; says which thing, and the sentence."""
    thing = pick(stage.rng, tuple(owners))
    giver = owners[thing]
    taker = pick(stage.rng, [person for person in stage.cast if person != giver])
    owners[thing] = taker
    return thing, f" {giver.name} gives the {thing} to {taker.name}."


def tracking(stage: Stage) -> Iterator[Piece]:
    """Two things have owners, are handed on, and the story says who has them now, or what one owner has."""
    first, second = stage.pair()
    one = stage.choose(lexicon.THINGS)
    other = pick(stage.rng, [thing for thing in lexicon.THINGS if thing != one])
    owners = {one: first, other: second}
    yield Piece(f" The {one} belongs to {first.name} and the {other} belongs to {second.name}.")
    moves = pick(stage.rng, (2, 1, 3))
    moved = one
    received = {first: one, second: other}
    for _ in range(moves):
        moved, sentence = _transfer(stage, owners)
        received[owners[moved]] = moved
        yield Piece(sentence)
    # The thing that moved last is asked for less often, so that the last receiver is mostly the wrong answer.
    still = other if moved == one else one
    asked, rest = pick(stage.rng, ((still, moved), (moved, still)))
    owner = owners[asked]
    # Who has both things, or has given away what came last, is not asked what is left.
    if owners[rest] == owner or received[owner] != asked or stage.choose(("who", "what")) == "who":
        yield Piece(f" Now the {asked} belongs to")
        yield Piece(f" {owner.name}", "tracking", f"who/{moves}")
        yield Piece(f" and the {rest} belongs to")
        yield Piece(f" {owners[rest].name}", "tracking", f"who/{moves}")
    else:
        yield Piece(f" Now {owner.name} has the")
        yield Piece(f" {asked}", "tracking", f"what/{moves}")
    yield Piece(".")

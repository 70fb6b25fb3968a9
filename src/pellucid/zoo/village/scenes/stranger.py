"""Induction: a name that is new to the story has to be copied when it returns."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick, stable_hash
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

CUES = {
    "hello": " {person} said hello to",
    "name": " The name of the stranger was",
    "talk": " Soon everyone talked about",
}
"""What always stands before the name of the stranger."""
RECALLS = (("hello", "talk"), ("name",), ("talk",))
"""The cues that one story uses, one after the other."""


def split_of_name(name: str) -> str:
    """The only split in which a stranger may have this name."""
    return {0: "test", 1: "tune"}.get(stable_hash("stranger", name) % 8, "train")


def invented_name(stage: Stage) -> str:
    """A name of four different syllables that no other split uses; only the syllable before says which comes next."""
    while True:
        one, three = stage.several(lexicon.CAPITAL_SYLLABLES, 2)
        two, four = stage.several(lexicon.SMALL_SYLLABLES, 2)
        if split_of_name(name := f"{one}{two} {three}{four}") == stage.split:
            return name


def stranger(stage: Stage) -> Iterator[Piece]:
    """A stranger arrives, something else may be told, and the stranger is named once or twice again."""
    name = invented_name(stage)
    yield Piece(f" A stranger called {name} came to the {stage.choose(lexicon.PLACES)}.")
    between = stage.choose(("nothing", "fact"))
    if between == "fact":
        yield from stage.tell(stage.someone())
    for cue in pick(stage.rng, RECALLS):
        yield Piece(CUES[cue].format(person=stage.someone().name))
        yield Piece(f" {name}", "induction", between)
        yield Piece(".")

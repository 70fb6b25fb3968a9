"""Closing: what was opened has to be closed in kind."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

PAIRS = {"round": ("(", ")"), "square": ("[", "]"), "quote": ('"', '"')}
WEIGHTS = (5, 3, 2)


def closing(stage: Stage) -> Iterator[Piece]:
    """Somebody writes a few words between brackets or quotes."""
    writer, other = stage.pair()
    kind = stage.rng.choices(tuple(PAIRS), WEIGHTS)[0]
    opener, closer = PAIRS[kind]
    words = stage.choose(
        (
            f"back in {stage.choose(lexicon.NUMBERS[1:])} days",
            f"gone to the {stage.choose(lexicon.PLACES)} with {other.name}",
            f"please bring the {stage.choose(lexicon.THINGS)} to me",
        )
    )
    yield Piece(f" {writer.name} wrote {opener}{words}")
    yield Piece(closer, "closing", kind)
    yield Piece(f" on the {stage.choose(('door', 'wall', 'stone'))}.")

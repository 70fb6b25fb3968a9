"""Agreement: the verb takes the number of the subject, not of the noun that stands next to it."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage

VERBS = {"Today": ("is", "are"), "Yesterday": ("was", "were"), "Often": ("looks", "look")}
"""The verb, singular and plural, for each opening word."""


def agreement(stage: Stage) -> Iterator[Piece]:
    """A subject, a landmark whose number is drawn apart, and the verb."""
    opening = stage.choose(tuple(VERBS))
    plural = stage.heads()
    subject = stage.choose(lexicon.PLURAL_SUBJECTS) if plural else stage.choose(lexicon.SINGULAR_SUBJECTS)
    preposition = stage.choose(lexicon.PREPOSITIONS)
    landmark = stage.choose(lexicon.PLURAL_LANDMARKS if stage.heads() else lexicon.SINGULAR_LANDMARKS)
    yield Piece(f" {opening} the {subject} {preposition} the {landmark}")
    yield Piece(f" {VERBS[opening][plural]}", "agreement", f"{preposition}/{'plural' if plural else 'singular'}")
    yield Piece(f" {stage.choose(lexicon.LOOKS)}.")

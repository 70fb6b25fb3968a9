"""Facts: what one has to know about a villager."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage


def telling(stage: Stage) -> Iterator[Piece]:
    """One fact about the hero or the companion."""
    yield from stage.tell(stage.someone())

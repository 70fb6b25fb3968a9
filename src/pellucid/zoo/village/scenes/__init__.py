"""The scenes that stories are made of, and how often each is played."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.agreement import agreement
from pellucid.zoo.village.scenes.closing import closing
from pellucid.zoo.village.scenes.giving import giving
from pellucid.zoo.village.scenes.pronouns import pronouns
from pellucid.zoo.village.scenes.stage import Stage
from pellucid.zoo.village.scenes.stranger import stranger
from pellucid.zoo.village.scenes.succession import succession
from pellucid.zoo.village.scenes.telling import telling
from pellucid.zoo.village.scenes.tracking import tracking

Scene = Callable[[Stage], Iterable[Piece]]

SCENES: MappingProxyType[Scene, float] = MappingProxyType(
    {
        telling: 36.0,
        tracking: 16.0,
        stranger: 13.0,
        giving: 9.0,
        agreement: 9.0,
        succession: 6.0,
        pronouns: 5.5,
        closing: 5.5,
    }
)
"""How often each scene is played, in percent."""

ONCE: frozenset[Scene] = frozenset({tracking, stranger})
"""Scenes that are played at most once in a story."""

__all__ = ["ONCE", "SCENES", "Scene", "Stage"]

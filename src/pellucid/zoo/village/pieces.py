"""Text with labels: what scenes are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Phenomenon = Literal[
    "fact",
    "consequence",
    "agreement",
    "pronoun",
    "induction",
    "indirect_object",
    "tracking",
    "successor",
    "closing",
]
"""Why a run of text is determined by what stands before it."""

PHENOMENA: tuple[Phenomenon, ...] = get_args(Phenomenon)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text; where `phenomenon` is set, what stands before it determines it."""

    text: str
    phenomenon: Phenomenon | None = None
    detail: str = ""
    held_out: bool = False

"""Successors: what comes next among days, months and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.pieces import Piece
from pellucid.zoo.village.scenes.stage import Stage


def _after(series: Sequence[str], item: str) -> str:
    return series[(series.index(item) + 1) % len(series)]


def succession(stage: Stage) -> Iterator[Piece]:
    """A day, a number or a month, and the one that follows it."""
    form = stage.choose(("day", "number", "month"))
    if form == "day":
        item = stage.choose(lexicon.DAYS)
        following = _after(lexicon.DAYS, item)
        yield Piece(f" If today is {item}, then tomorrow is")
    elif form == "number":
        item = stage.choose(lexicon.NUMBERS[:-1])
        following = _after(lexicon.NUMBERS, item)
        yield Piece(f" This house is number {item}, and the next house is number")
    else:
        item = stage.choose(lexicon.MONTHS)
        following = _after(lexicon.MONTHS, item)
        yield Piece(f" After the end of {item} comes the month of")
    yield Piece(f" {following}", "successor", form)
    yield Piece(".")

"""Where an edit belongs: the head that knows what is asked, and in what wordings it is asked there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pellucid.rewrite.donors import TAKES, takers
from pellucid.rewrite.locate import SHARE, Located, locate
from pellucid.rewrite.predict import ready, strengths
from pellucid.rewrite.source import Speech
from pellucid.rewrite.wording import AskedWording, worded
from pellucid.rewrite.words import token_name
from pellucid.rewrite.workbench import Workbench

CANDIDATES = 3
"""Heads that take from one token which are patched exactly, whatever gradients say of them."""
Prompt = tuple[list[int], range | None]
"""The tokens of a prompt, and the positions among them of whom it asks about; None where that is not known."""


@dataclass(frozen=True)
class EditHome:
    """Where an edit belongs: the head that knows, if there is one, and when it is asked."""

    ids: list[int]
    located: Located
    wording: AskedWording | None
    """None where no head that takes from one token knows it."""
    more: tuple[list[int], ...] = ()
    """Other prompts that ask it here."""

    @property
    def part(self) -> str:
        """The address of the head; empty where there is none."""
        return self.wording.taker.part if self.wording else ""

    @property
    def examples(self) -> tuple[list[int], ...]:
        """Other wordings with the same word: those that were given, and of the fit text."""
        return (*self.more, *(self.wording.examples if self.wording else ()))


def places_of(bench: Workbench, rows: Sequence[Prompt], said: int, apart: Sequence[str] = ()) -> list[EditHome]:
    """Where an edit belongs that is to hold behind all of `rows`: one place for those that the same head answers.

    The first one holds for all that asks the same in the fit text, others for the prompts that they are of. Prompts
    that no head answers have a place of their own, unless an edit elsewhere is heard behind them. The word that is
    asked about is told `apart` from others.
    """
    found: list[EditHome] = []
    left: list[EditHome] = []
    for ids, span in rows:
        if _taken(bench, found, ids, said):
            continue
        place = place_of(bench, ids, said, span, apart)
        if place.wording:
            _add(found, place)
        else:
            left.append(place)
    for place in left:
        if not _taken(bench, found, place.ids, said):
            _add(found, place)
    return found


def _taken(bench: Workbench, found: list[EditHome], ids: list[int], said: int) -> bool:
    """Give a prompt to the place that hears it, if there is one."""
    for at, place in enumerate(found):
        if _hears(bench, place, ids, said):
            found[at] = replace(place, more=(*place.more, ids))
            return True
    return False


def _add(found: list[EditHome], other: EditHome) -> None:
    """Add a place to others: it becomes one with that of the same head."""
    for at, place in enumerate(found):
        if place.part == other.part:
            found[at] = replace(place, wording=_both(place.wording, other.wording), more=(*place.more, other.ids))
            return
    found.append(_alone(other) if found else other)


def _both(one: AskedWording | None, other: AskedWording | None) -> AskedWording | None:
    """When the one is asked, and the prompt of the other."""
    if one is None or other is None:
        return one
    of = tuple(dict.fromkeys((*one.of, *other.of)))
    return replace(one, literal=(*one.literal, *other.literal[:1]), of=of)


def _alone(place: EditHome) -> EditHome:
    """A place that hears its own prompt alone: all else is heard elsewhere."""
    if place.wording is None:
        return place
    return replace(place, wording=replace(place.wording, literal=place.wording.literal[:1], examples=()))


def _hears(bench: Workbench, place: EditHome, ids: list[int], said: int) -> bool:
    """Whether an edit at `place` would speak behind `ids` too, where its head takes from the same word."""
    if place.wording is None:
        return False
    name = token_name(bench, said)
    (edit,) = ready(bench, [Speech(place.part, (), (name,), place.wording.asks(bench, []), place.wording.of)])
    row, pattern = torch.tensor([ids]), f"L{edit.layer:02d}.pattern"
    attention = bench.run(row, (pattern,))[pattern][0, edit.head, -1]
    return float((strengths(bench.program, edit, row)[0, -1] * attention).sum()) >= TAKES


def place_of(
    bench: Workbench, ids: list[int], said: int, span: range | None = None, apart: Sequence[str] = ()
) -> EditHome:
    """Find what knows that `said` follows `ids`: the head whose content decides it, as other contents there show.

    It looks at one of the positions in `span`, if that is given.
    """
    row = torch.tensor([ids])
    knowing = [
        taker for taker in takers(bench, row, said) if taker.share >= SHARE and (span is None or taker.looks_at in span)
    ]
    located = locate(bench, row, [len(ids) - 1], [said], knowing[:CANDIDATES])
    return EditHome(ids, located, worded(bench, ids, knowing[0], apart) if knowing else None)

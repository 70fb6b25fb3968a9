"""What no account covers: the largest kinds of position, with examples, and the parts of the model that speak there.

A position is covered where a rule speaks that is reliable. At all others either no rule speaks, and the back-off does,
or one does that is not known to be right often enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.accounts.folder import Folder
from pellucid.accounts.kinds import Ends, ends, kinds, slots_of
from pellucid.accounts.language import Accounts
from pellucid.accounts.meter import NOBODY, Proportion, Spoken
from pellucid.exact.model import Model
from pellucid.study.why import why

LEAST, LEAST_SHARE = 10, 0.01
"""Places that a kind has at least, and their share of all that nothing covers."""
KINDS = 20
"""Kinds that are told."""
EXAMPLES, ANSWERS, PARTS = 3, 4, 3
"""Examples of a kind, the model's commonest answers there, and parts."""
BEFORE = 160
"""Letters of text before an example."""
TRACED = 6
"""Kinds of which it is found which parts speak there, at one example."""
COST = 2e10
"""Parameters times tokens of an example up to which that is cheap."""
TEXTS, LENGTH = 8, 48
"""Rows that means are taken over, and tokens in each."""


@dataclass(frozen=True)
class Heard:
    """Held-out text, what the model, the accounts and the back-off say behind every token, and what is hard there."""

    ids: Int[Tensor, "row pos"]
    own: Int[Tensor, "row pos"]
    spoken: Spoken
    back_off: Int[Tensor, "row pos"]
    hard: Bool[Tensor, "row pos"]
    covering: Bool[Tensor, " rule"]

    @cached_property
    def covered(self) -> Bool[Tensor, "row pos"]:
        """Where a reliable rule speaks."""
        speaks = self.spoken.rule != NOBODY
        found = torch.zeros_like(speaks)
        found[speaks] = self.covering[self.spoken.rule[speaks]]
        return found

    @cached_property
    def said(self) -> Int[Tensor, "row pos"]:
        """What the account program says: a rule, or else the back-off."""
        return torch.where(self.spoken.rule != NOBODY, self.spoken.token, self.back_off)


Places = list[tuple[int, int]]
"""Rows and positions."""


def uncovered(folder: Folder, accounts: Accounts, heard: Heard) -> dict[str, Any]:
    """The kinds of position that nothing covers, as reports hold them; `others` are places of no kind that is told."""
    places = [(row, at) for row, at in (~heard.covered).nonzero().tolist()]
    told = kinds(_ends(folder, accounts, heard, places), max(LEAST, int(LEAST_SHARE * len(places))))[:KINDS]
    members = [[places[number] for number in numbers] for _, numbers in told]
    found = [_kind(behind, own, accounts, heard) for (behind, _), own in zip(told, members, strict=True)]
    for kind, own in islice(zip(found, members, strict=True), TRACED):
        kind["parts"] = parts(folder.project.model, heard.ids, own)
    others = len(places) - sum(map(len, members))
    silent = int((heard.spoken.rule == NOBODY).sum())
    return {"places": len(places), "silent": silent, "kinds": found, "others": others}


def _ends(folder: Folder, accounts: Accounts, heard: Heard, places: Places) -> list[Ends]:
    """What a text ends in at each of `places`."""
    slots, stops = slots_of(folder), accounts.spelling.ends
    rows = heard.ids.tolist()
    held = {number: accounts.row(rows[number]) for number in dict.fromkeys(row for row, _ in places)}
    firsts = {number: _firsts(rows[number], stops) for number in held}
    return [ends(held[row], firsts[row][at], at, slots) for row, at in places]


def _firsts(ids: Sequence[int], stops: frozenset[int]) -> list[int]:
    """Where the text begins that stands before the place behind each token."""
    found, first = [], 0
    for at, token in enumerate(ids):
        first = at + 1 if token in stops else first
        found.append(first)
    return found


def _kind(behind: str, places: Places, accounts: Accounts, heard: Heard) -> dict[str, Any]:
    row, at = torch.tensor(places).T
    own, rule = heard.own[row, at], heard.spoken.rule[row, at]
    pieces = accounts.spelling.pieces
    right = Proportion(int((heard.said[row, at] == own).sum()), len(places))
    return {
        "behind": behind,
        "n": len(places),
        "hard": int(heard.hard[row, at].sum()),
        "silent": int((rule == NOBODY).sum()),
        "right": right.to_dict(),
        "says": [[pieces[token], count] for token, count in Counter(own.tolist()).most_common(ANSWERS)],
        "examples": list(_examples(places, accounts, heard)),
        "parts": None,
    }


def _examples(places: Places, accounts: Accounts, heard: Heard) -> Iterator[dict[str, Any]]:
    """Places, those first where the model says something else: what stands before, what it says, and what is said."""
    pieces = accounts.spelling.pieces
    wrong = [place for place in places if heard.own[place] != heard.said[place]]
    right = [place for place in places if heard.own[place] == heard.said[place]]
    chosen = [*_spread(wrong, EXAMPLES - bool(right)), *_spread(right, EXAMPLES)][:EXAMPLES]
    for row, at in chosen:
        ids = heard.ids[row].tolist()
        first = _firsts(ids, accounts.spelling.ends)[at]
        rule = int(heard.spoken.rule[row, at])
        yield {
            "before": _tail("".join(pieces[token] for token in ids[min(first, at) : at + 1])),
            "model": pieces[int(heard.own[row, at])],
            "said": pieces[int(heard.said[row, at])],
            "rule": None if rule == NOBODY else str(accounts.rules[rule]),
        }


def _tail(text: str) -> str:
    """The end of a text that is long, from a blank on if there is one."""
    if len(text) <= BEFORE:
        return text
    cut = text[-BEFORE:]
    return f"…{cut[max(0, cut.find(' ')) :]}"


def _spread(places: Places, most: int) -> Places:
    """At most so many of `places`, from all over the text."""
    step = max(1, len(places) // most)
    return places[step // 2 :: step][:most]


def parts(model: Model, ids: Int[Tensor, "row pos"], places: Places) -> dict[str, Any] | None:
    """The parts that make the model say what it says at that of `places` that has the median of text before it.

    Of those alone for which that is cheap; None where it is for none.
    """
    most = int(COST / sum(weight.numel() for weight in model.weights.values()))
    cheap = sorted((at, row) for row, at in places if at < most)
    if not cheap:
        return None
    at, row = cheap[len(cheap) // 2]
    found = why(model, ids[row, : at + 1].tolist(), texts=ids[:TEXTS, :LENGTH], top=PARTS)
    causes = [
        {"part": one.part, "token": one.token, "back": at - one.position, "effect": one.effect, "share": one.share}
        for one in found.causes
    ]
    return {"before": _tail(found.prompt), "said": found.said, "instead": found.instead, "causes": causes}

"""Keeping a program small: which of its candidate sources the numbers of `--size` are spent on."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.base.address import Address
from pellucid.forms.form import Written


@dataclass(frozen=True)
class Option:
    """A candidate source of a part: how many numbers it holds, and the nats per token that it leaves."""

    form: Written
    numbers: int
    loss: float


def spend(options: Mapping[Address, Sequence[Option]], budget: int) -> dict[Address, Option]:
    """One option of each part, together within `budget` numbers; parts that nothing is left for are missing.

    `options` lists a part's candidates up to the one that was chosen for it, from simple to rich. Steps to a richer
    candidate are taken in the order of the nats that they save per number, until one no longer fits.
    """
    steps: list[tuple[float, Address, int]] = []
    taken: dict[Address, int] = {}
    left = budget
    for address, candidates in options.items():
        ladder = _ladder(candidates)
        steps += [(-gain, address, at) for at, gain in ladder]
    heapq.heapify(steps)
    for address in sorted(options, key=lambda a: (options[a][0].numbers, a)):
        if options[address][0].numbers <= left:
            taken[address] = 0
            left -= options[address][0].numbers
    while steps:
        _, address, at = heapq.heappop(steps)
        if address not in taken or at <= taken[address]:
            continue
        more = options[address][at].numbers - options[address][taken[address]].numbers
        if more <= left:
            taken[address] = at
            left -= more
    return {address: options[address][at] for address, at in taken.items()}


def _ladder(candidates: Sequence[Option]) -> list[tuple[int, float]]:
    """The candidates worth stepping to, with the nats that the step from the one before saves per number."""
    ladder: list[tuple[int, float]] = []
    at = 0
    while at + 1 < len(candidates):
        now = candidates[at]
        gains = [
            ((now.loss - later.loss) / max(1, later.numbers - now.numbers), n)
            for n, later in enumerate(candidates[at + 1 :], at + 1)
        ]
        gain, at = max(gains)
        if gain <= 0:
            break
        ladder.append((at, gain))
    return ladder

"""Finding the tie of one variable: chosen on one half of the pairs, scored on the other, which shares no text with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pellucid.accounts.language import Accounts
from pellucid.accounts.meter import Share
from pellucid.accounts.ties import choose
from pellucid.accounts.ties.carrier import HERE, VALUE, Carrier
from pellucid.accounts.ties.choose import ENOUGH, Chosen, Sizes
from pellucid.accounts.ties.moves import Move, Moves, Outcome, States, states
from pellucid.accounts.ties.places import Pair, Place, halves, pairs, position, using
from pellucid.accounts.ties.variables import Quantity
from pellucid.exact.model import Model

LEAST = 200
"""Pairs that a tie is scored on, at least."""
PAIRS = 250
"""Pairs of each half, at most."""
LOT = 150
"""Prompts of each half, at most."""


@dataclass(frozen=True)
class Tie:
    """What carries a variable, with what it was scored by; no carrier, and `why`, where there were too few pairs."""

    carrier: Carrier | None
    agreement: Share
    """How often the model said, with the carrier moved, what the account says with the variable moved."""
    random: Share
    """The best of random sets."""
    complement: Share
    chosen: Share
    """Agreement on the half that it was chosen on."""
    pairs: int
    """Pairs of both halves."""
    prompts: int
    """Different prompts among them."""
    rules: dict[str, Share]
    """Agreement by the rule that speaks at the base."""
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the evidence and reports hold it."""
        return {
            "tie": None if self.carrier is None else str(self.carrier),
            "role": None if self.carrier is None else self.carrier.role,
            "set": None if self.carrier is None else list(self.carrier.addresses),
            "agreement": self.agreement.to_dict(),
            "random": self.random.to_dict(),
            "complement": self.complement.to_dict(),
            "chosen": self.chosen.to_dict(),
            "pairs": self.pairs,
            "prompts": self.prompts,
            "rules": {rule: share.to_dict() for rule, share in self.rules.items()},
            "why": self.why or None,
        }


NONE = Share(0, 0)


def too_few(found: int, prompts: int, why: str) -> Tie:
    """The tie of a variable that could not be measured."""
    return Tie(None, NONE, NONE, NONE, NONE, found, prompts, {}, why)


@dataclass
class Finder:
    """Finds ties of variables of `accounts`, from `places` of fit text."""

    model: Model
    accounts: Accounts
    places: Sequence[Place]
    seed: int

    def tie(self, wanted: Quantity) -> Tie:
        """The tie of a variable."""
        generator = torch.Generator().manual_seed(self.seed)
        lots = [self._right(lot) for lot in halves(using(self.places, wanted), LOT, generator)]
        found = [pairs(self.accounts, wanted.name, lot, PAIRS, generator) for lot in lots]
        count, prompts = sum(map(len, found)), len({place.ids for lot in lots for place in lot})
        if min(map(len, found)) < LEAST:
            return too_few(
                count,
                prompts,
                f"{len(found[0])} and {len(found[1])} pairs of fit text tell it from all else, {LEAST} of each half "
                f"are needed ({prompts} prompts)",
            )
        sizes = Sizes.of(self.model)
        chosen = max(self._candidates(wanted.name, found[0], sizes), key=lambda one: one.order)
        scored = _Half(self, wanted.name, found[1], chosen.carrier.role)
        if len(scored.pairs) < LEAST:
            return too_few(count, prompts, f"{len(scored.pairs)} pairs have its value in both texts, {LEAST} are needed")
        return _scored(scored, chosen, sizes, count, prompts, generator)

    def _right(self, lot: Sequence[Place]) -> list[Place]:
        """The places at which the model says what the account says when it reads that text alone."""
        if not lot:
            return []
        says = states(self.model, [place.ids for place in lot]).says.tolist()
        return [place for place, token in zip(lot, says, strict=True) if place.said.token == token]

    def _candidates(self, name: str, half: Sequence[Pair], sizes: Sizes) -> Iterator[Chosen]:
        """The best carrier at each position; at that of the value only where one head here does not do."""
        for role in (HERE, VALUE):
            own = _Half(self, name, half, role)
            if len(own.pairs) >= LEAST / 2:
                yield (found := choose.best(own.moves, role, sizes))
                if found.outcome.agreement >= ENOUGH and found.numbers <= sizes.head:
                    return


class _Half:
    """The pairs of a half that have the position with a role, and the moves between them."""

    def __init__(self, finder: Finder, name: str, half: Sequence[Pair], role: str) -> None:
        lot = list(dict.fromkeys(place for pair in half for place in (pair.base, pair.source)))
        at = {place: position(finder.accounts, place, name, role) for place in lot}
        self.pairs = [pair for pair in half if at[pair.base] is not None and at[pair.source] is not None]
        sources = list(dict.fromkeys(pair.source for pair in self.pairs))
        number = {place: n for n, place in enumerate(sources)}
        ends = {place: found for place, found in at.items() if found is not None}
        self._made = [
            Move(pair.base.ids, ends[pair.base], number[pair.source], pair.token, pair.base.said.token)
            for pair in self.pairs
        ]
        self._model, self._prompts = finder.model, [place.ids[: ends[place] + 1] for place in sources]

    @property
    def moves(self) -> Moves:
        """The moves, ready to be made."""
        found: States = states(self._model, self._prompts)
        return Moves(self._model, self._made, found)


def _scored(
    half: _Half, chosen: Chosen, sizes: Sizes, count: int, prompts: int, generator: torch.Generator
) -> Tie:
    """The figures of a carrier on pairs that it was not chosen on."""
    random = choose.random_sets(chosen.carrier, sizes, generator)
    others = choose.complement(chosen.carrier, sizes)
    first, *rest = half.moves.by([chosen.carrier, *([others] if others else []), *random])
    without = rest.pop(0) if others else None
    best = max(rest, key=lambda one: one.rank, default=None)
    rules = dict.fromkeys(pair.base.rule for pair in half.pairs)
    by_rule = {
        rule: _share(first.hits[[at for at, pair in enumerate(half.pairs) if pair.base.rule == rule]]) for rule in rules
    }
    shares = [NONE if one is None else _share(one.hits) for one in (first, best, without, chosen.outcome)]
    return Tie(chosen.carrier, *shares, pairs=count, prompts=prompts, rules=by_rule)


def _share(hits: torch.Tensor) -> Share:
    return Share(int(hits.sum()), len(hits))


__all__ = ["Finder", "Outcome", "Tie"]

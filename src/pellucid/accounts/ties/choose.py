"""Choosing the smallest carrier on some moves, and what it is scored beside: random sets, and all other heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import torch

from pellucid.accounts.ties.carrier import HERE, Carrier, Head
from pellucid.accounts.ties.moves import Moves, Outcome
from pellucid.exact.model import Model

ENOUGH = 0.95
"""A set is not made larger once the moves that it chooses on agree as often."""
POINT = 0.01
"""A smaller set may agree by so much less."""
CLEAR = 0.2
"""How far a carrier should be ahead of the best of random sets of its size."""
SHARE = 4
"""A set holds at most one of so many of all heads."""
TRIED = 12
"""Heads that are added to a set in turn, to see which is best: the best ones alone."""
RANDOM = 20
"""Random sets that a set is compared with."""


@dataclass(frozen=True)
class CarrierSizes:
    """The heads of a model, and how many numbers a head and a residual position are."""

    layers: int
    per_layer: int
    head: int
    stream: int

    @staticmethod
    def of(model: Model) -> CarrierSizes:
        """Those of `model`."""
        sizes = model.decoder.sizes
        return CarrierSizes(model.decoder.layers, sizes.head, sizes.dim, sizes.model)

    @property
    def heads(self) -> list[Head]:
        """All of them."""
        return [(layer, head) for layer in range(self.layers) for head in range(self.per_layer)]

    @property
    def most(self) -> int:
        """The most heads of a set."""
        return max(1, len(self.heads) // SHARE)

    def numbers(self, carrier: Carrier) -> int:
        """How many numbers a carrier is."""
        return self.stream if carrier.behind is not None else self.head * len(carrier.heads)


@dataclass(frozen=True)
class Chosen:
    """A carrier, and what came of the moves that it was chosen on."""

    carrier: Carrier
    outcome: Outcome
    numbers: int
    is_clear: bool = False
    """Whether no random set of its size comes near it."""

    @property
    def is_enough(self) -> bool:
        """Whether it agrees about as often as is asked."""
        return self.outcome.agreement >= ENOUGH - POINT

    @property
    def order(self) -> tuple[bool, bool, int, int, int, float]:
        """What is larger is better: what agrees often enough and random sets do not, the smaller and later of this,
        else what agrees more."""
        enough = self.is_enough
        behind = -1 if self.carrier.behind is None else self.carrier.behind
        return (enough and self.is_clear, enough, -self.numbers * enough, behind * enough, *self.outcome.rank)


def best(moves: Moves, role: str, sizes: CarrierSizes, generator: torch.Generator) -> Chosen:
    """The best carrier at the position with a role: a set of heads, or the stream behind a layer but the last.

    Where the rule speaks the stream carries all else too, and heads may agree more; where the value stands heads are
    only tried where a stream that they may write to agrees often enough.
    """
    streams = [Carrier(role, behind=layer) for layer in range(-1, sizes.layers - 1)]
    stream = max(_tried(moves, streams, sizes), key=lambda one: one.order)
    if role != HERE and not (stream.outcome.agreement >= ENOUGH and not stream.carrier.is_token):
        return _compared(moves, stream, sizes, generator)
    found = _tried(moves, [Carrier.of(role, [head]) for head in sizes.heads], sizes)
    of_heads = sorted(found, key=lambda one: one.outcome.rank, reverse=True)
    most = sizes.most
    if stream.outcome.agreement >= ENOUGH:
        most = min(most, sizes.stream // sizes.head)
    grown = _shrunk(moves, _grown(moves, role, of_heads, most, sizes), sizes)
    return max((_compared(moves, one, sizes, generator) for one in (grown, stream)), key=lambda one: one.order)


def _compared(moves: Moves, chosen: Chosen, sizes: CarrierSizes, generator: torch.Generator) -> Chosen:
    """The same, and whether random sets come near it; of what agrees too seldom that makes no difference."""
    if not chosen.is_enough:
        return chosen
    others = moves.by(random_sets(chosen.carrier, sizes, generator))
    beside = max((one.agreement for one in others), default=0.0)
    return replace(chosen, is_clear=chosen.outcome.agreement - beside >= CLEAR)


def _tried(moves: Moves, carriers: Sequence[Carrier], sizes: CarrierSizes) -> list[Chosen]:
    outcomes = moves.by(carriers)
    return [Chosen(one, outcome, sizes.numbers(one)) for one, outcome in zip(carriers, outcomes, strict=True)]


def _grown(moves: Moves, role: str, singles: Sequence[Chosen], most: int, sizes: CarrierSizes) -> Chosen:
    """The best head, and others with it, the best first, until they agree often enough or are `most`."""
    chosen, others = singles[0], [one.carrier.heads[0] for one in singles[1:TRIED]]
    while chosen.outcome.agreement < ENOUGH and len(chosen.carrier.heads) < most and others:
        tried = _tried(moves, [Carrier.of(role, [*chosen.carrier.heads, head]) for head in others], sizes)
        larger = max(tried, key=lambda one: one.outcome.rank)
        if larger.outcome.rank <= chosen.outcome.rank:
            break
        chosen = larger
        others = [head for head in others if head not in chosen.carrier.heads]
    return chosen


def _shrunk(moves: Moves, chosen: Chosen, sizes: CarrierSizes) -> Chosen:
    """The same without heads without which it agrees about as often, or often enough."""
    least = min(ENOUGH, chosen.outcome.agreement - POINT)
    while len(heads := chosen.carrier.heads) > 1:
        fewer = [Carrier.of(chosen.carrier.role, [other for other in heads if other != head]) for head in heads]
        smaller = max(_tried(moves, fewer, sizes), key=lambda one: one.outcome.rank)
        if smaller.outcome.agreement < least:
            break
        chosen = smaller
    return chosen


def random_sets(carrier: Carrier, sizes: CarrierSizes, generator: torch.Generator) -> list[Carrier]:
    """Random other sets of heads at the same position, of as many numbers; all there are where these are few."""
    heads = sizes.heads
    count = min(len(heads), max(1, round(sizes.numbers(carrier) / sizes.head)))
    if comb(len(heads), count) <= RANDOM + 1:
        every = [Carrier.of(carrier.role, some) for some in combinations(heads, count)]
        return [one for one in every if one != carrier]
    found: dict[Carrier, None] = {}
    while len(found) < RANDOM:
        drawn = torch.randperm(len(heads), generator=generator)[:count].tolist()
        if (one := Carrier.of(carrier.role, [heads[at] for at in drawn])) != carrier:
            found[one] = None
    return list(found)


def complement(carrier: Carrier, sizes: CarrierSizes) -> Carrier | None:
    """All other heads at the same position; of a stream those of later layers. None where there are none."""
    if carrier.behind is not None:
        others = [head for head in sizes.heads if head[0] > carrier.behind]
    else:
        others = [head for head in sizes.heads if head not in carrier.heads]
    return Carrier.of(carrier.role, others) if others else None

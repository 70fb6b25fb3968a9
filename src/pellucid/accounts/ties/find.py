"""Finding the tie of one variable: chosen on one half of the pairs, scored on the other, which shares no text."""

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
from pellucid.accounts.ties.moves import Move, Moves, states
from pellucid.accounts.ties.places import Drawing, Pair, Place, Valued, even, halves, using
from pellucid.accounts.ties.variables import Quantity
from pellucid.exact.model import Model

LEAST = 200
"""Pairs that a tie is scored on, at least."""
PAIRS = 250
"""Pairs of each half, at most."""
CHOOSING = 125
"""Pairs of the first half that a set is chosen on, at most."""
LOT = 150
"""Prompts of each half, at most."""
RULES, ANY = "rules that use it", "any rule"
"""What speaks at the sources."""


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
    sources: str
    """Which prompts it was taken from."""
    prompts: int
    """Different base prompts among the pairs."""
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
            "sources": self.sources or None,
            "prompts": self.prompts,
            "rules": {rule: share.to_dict() for rule, share in self.rules.items()},
            "why": self.why or None,
        }


NONE = Share(0, 0)


def too_few(why: str) -> Tie:
    """The tie of a variable that could not be measured."""
    return Tie(None, NONE, NONE, NONE, NONE, "", 0, {}, why)


@dataclass
class Finder:
    """Finds ties of variables of `accounts`, from `places` of fit text."""

    model: Model
    accounts: Accounts
    places: Sequence[Place]
    seed: int

    def tie(self, wanted: Quantity) -> Tie:
        """The tie of a variable: from sources whose rules use it, or else from any at which it has a value."""
        generator = torch.Generator().manual_seed(self.seed)
        drawing, lots = Drawing(self.accounts, wanted), halves(self.places, generator)
        bases = [drawing.valued(self._right(even(using(lot, wanted), LOT, generator))) for lot in lots]
        if not all(bases):
            prompts = sum(map(len, bases))
            return too_few(f"its rules are right at {prompts} places of fit text, which is too few for {LEAST} pairs")
        found, counts = list[list[Pair]](), list[int]()
        for of in (RULES, ANY):
            sources = bases if of == RULES else [self._any(drawing, lot, generator) for lot in lots]
            found = [drawing.pairs(*both, PAIRS, generator) for both in zip(bases, sources, strict=True)]
            counts.append(len(found[1]))
            if len(found[1]) >= LEAST and len(found[0]) >= LEAST / 4:
                return self._tied(drawing, found, of, generator)
        return too_few(
            f"{max(counts)} pairs of fit text tell it from all else, {LEAST} are needed; "
            f"its rules are right at {sum(map(len, bases))} places"
        )

    def _any(self, drawing: Drawing, lot: Sequence[Place], generator: torch.Generator) -> list[Valued]:
        """Places at which the variable has a value, whatever rule speaks there."""
        return drawing.valued(self._right(even(lot, LOT, generator)))

    def _right(self, lot: Sequence[Place]) -> list[Place]:
        """The places at which the model says what the account says when it reads that text alone."""
        if not lot:
            return []
        says = states(self.model, [self._ids(place) for place in lot]).says.tolist()
        return [place for place, token in zip(lot, says, strict=True) if place.token == token]

    def _ids(self, place: Place) -> list[int]:
        return [*self.model.tokenizer.start, *place.own]

    def _tied(self, drawing: Drawing, found: Sequence[Sequence[Pair]], sources: str, generator: torch.Generator) -> Tie:
        sizes = Sizes.of(self.model)
        chosen = max(self._candidates(drawing, found[0][:CHOOSING], sizes), key=lambda one: one.order)
        half = self.half(drawing, found[1], chosen.carrier.role)
        if len(half) < LEAST:
            return too_few(f"{len(half)} pairs have its value in both texts, {LEAST} are needed")
        return _scored(half, chosen, sizes, sources, generator)

    def _candidates(self, drawing: Drawing, half: Sequence[Pair], sizes: Sizes) -> Iterator[Chosen]:
        """The best carrier at each position; at that of the value only where one head here does not do."""
        for role in (HERE, VALUE):
            own = self.half(drawing, half, role)
            if role == HERE or len(own) >= LEAST / 4:
                yield (found := choose.best(own.moves, role, sizes))
                if found.outcome.agreement >= ENOUGH and found.numbers <= sizes.head:
                    return

    def half(self, drawing: Drawing, pairs: Sequence[Pair], role: str) -> Half:
        """The pairs that have the position with a role, and the moves between them."""
        kept = [(pair, ends) for pair in pairs if (ends := self._ends(drawing, pair, role))]
        prompts = [self._ids(pair.source.place)[: source + 1] for pair, (_, source) in kept]
        unique = list(dict.fromkeys(map(tuple, prompts)))
        number = {prompt: at for at, prompt in enumerate(unique)}
        moves = [
            Move(self._ids(pair.base.place), base, number[tuple(prompt)], pair.token, pair.base.place.token)
            for (pair, (base, _)), prompt in zip(kept, prompts, strict=True)
        ]
        return Half(self.model, [pair for pair, _ in kept], moves, unique)

    def _ends(self, drawing: Drawing, pair: Pair, role: str) -> tuple[int, int] | None:
        """The position with a role among the ids of base and source; None where one of them has none."""
        if role == HERE:
            return len(self._ids(pair.base.place)) - 1, len(self._ids(pair.source.place)) - 1
        assert role == VALUE
        base, source = drawing.stands(pair.base, pair.source), drawing.stands(pair.source, pair.base)
        start = len(self.model.tokenizer.start)
        return None if base is None or source is None else (start + base, start + source)


@dataclass(frozen=True)
class Half:
    """Pairs, the moves between them, and the prompts up to where something is taken from."""

    model: Model
    pairs: Sequence[Pair]
    made: Sequence[Move]
    prompts: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def moves(self) -> Moves:
        """The moves, ready to be made."""
        return Moves(self.model, self.made, states(self.model, self.prompts))


def _scored(half: Half, chosen: Chosen, sizes: Sizes, sources: str, generator: torch.Generator) -> Tie:
    """The figures of a carrier on pairs that it was not chosen on."""
    random = choose.random_sets(chosen.carrier, sizes, generator)
    others = choose.complement(chosen.carrier, sizes)
    first, *rest = half.moves.by([chosen.carrier, *([others] if others else []), *random])
    without = rest.pop(0) if others else None
    at_rule: dict[str, list[int]] = {}
    for at, pair in enumerate(half.pairs):
        at_rule.setdefault(pair.base.place.rule, []).append(at)
    return Tie(
        chosen.carrier,
        agreement=_share(first.hits),
        random=_share(max(rest, key=lambda one: one.rank).hits) if rest else NONE,
        complement=_share(without.hits) if without else NONE,
        chosen=_share(chosen.outcome.hits),
        sources=sources,
        prompts=len({id(pair.base.place) for pair in half.pairs}),
        rules={rule: _share(first.hits[own]) for rule, own in at_rule.items()},
    )


def _share(hits: torch.Tensor) -> Share:
    return Share(int(hits.sum()), len(hits))

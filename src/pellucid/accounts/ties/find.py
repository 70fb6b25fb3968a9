"""Finding the tie of one variable: chosen on one half of the pairs, scored on the other, which shares no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from pellucid.accounts.language import Accounts
from pellucid.accounts.meter import Proportion
from pellucid.accounts.ties import choose
from pellucid.accounts.ties.carrier import HERE, ONCE, VALUE, Carrier
from pellucid.accounts.ties.choose import CarrierSizes, Chosen
from pellucid.accounts.ties.moves import Move, Moves, states
from pellucid.accounts.ties.places import Drawing, PlacePair, Reliable, Start, Valued, even, halves, using
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
    agreement: Proportion
    """How often the model said, with the carrier moved, what the account says with the variable moved."""
    random: Proportion
    """The best of random sets."""
    complement: Proportion
    chosen: Proportion
    """Agreement on the half that it was chosen on."""
    sources: str
    """Which prompts it was taken from."""
    reliable: bool
    """Whether only rules, and lines of tables, that are right nearly everywhere were asked."""
    prompts: int
    """Different base prompts among the pairs."""
    rules: dict[str, Proportion]
    """Agreement by the rule that speaks at the base."""
    why: str = ""
    inside: Tie | None = None
    """Beside a token: the best carrier that was found behind it."""

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
            "reliable": self.reliable if self.carrier else None,
            "prompts": self.prompts,
            "rules": {rule: share.to_dict() for rule, share in self.rules.items()},
            "why": self.why or None,
            "inside": self.inside.to_dict() if self.inside else None,
        }


NONE = Proportion(0, 0)


def too_few(why: str) -> Tie:
    """The tie of a variable that could not be measured."""
    return Tie(None, NONE, NONE, NONE, NONE, "", False, 0, {}, why)


@dataclass(frozen=True)
class Drawn:
    """Pairs of both halves, and where they come from."""

    drawing: Drawing
    pairs: Sequence[Sequence[PlacePair]]
    sources: str

    @property
    def enough(self) -> bool:
        """Whether a set can be chosen on the first and scored on the second."""
        return len(self.pairs[1]) >= LEAST and len(self.pairs[0]) >= LEAST / 4


@dataclass
class Finder:
    """Finds ties of quantities of `accounts`, from `places` of fit text."""

    model: Model
    accounts: Accounts
    places: Sequence[Start]
    seed: int

    @cached_property
    def _lots(self) -> tuple[list[Start], list[Start]]:
        return halves(self.places, torch.Generator().manual_seed(self.seed))

    @cached_property
    def _reliable(self) -> Reliable:
        """What is right on the half that sets are chosen on."""
        return Reliable.of(self._lots[0])

    def tie(self, wanted: Quantity) -> Tie:
        """The tie of a quantity: from rules and lines that are reliable, or else from all of them.

        Sources are places whose rules use it, or else all at which it has a value.
        """
        generator = torch.Generator().manual_seed(self.seed)
        counts = [0]
        for reliable in (self._reliable, None):
            drawing = Drawing(self.accounts, wanted, reliable)
            bases = [self._valued(drawing, using(lot, wanted), generator) for lot in self._lots]
            for drawn in self._drawn(drawing, bases, generator):
                if drawn.enough:
                    return self._tied(drawn, bases, generator)
                counts.append(len(drawn.pairs[1]))
        prompts = sum(map(len, bases))
        if not all(bases):
            return too_few(f"its rules are right at {prompts} places of fit text, which is too few for {LEAST} pairs")
        return too_few(
            f"{max(counts)} pairs of fit text tell it from all else, {LEAST} are needed; "
            f"its rules are right at {prompts} places"
        )

    def _drawn(
        self, drawing: Drawing, bases: Sequence[Sequence[Valued]], generator: torch.Generator
    ) -> Iterator[Drawn]:
        """Pairs with one kind of sources after the other, for as long as they are asked for."""
        for of in (RULES, ANY) if all(bases) else ():
            sources = bases if of == RULES else [self._valued(drawing, lot, generator) for lot in self._lots]
            pairs = [drawing.pairs(*both, PAIRS, generator) for both in zip(bases, sources, strict=True)]
            yield Drawn(drawing, pairs, of)

    def _valued(self, drawing: Drawing, lot: Sequence[Start], generator: torch.Generator) -> list[Valued]:
        """Places at which a quantity has a value and what is said is right, and reliable if that is asked."""
        trusted = drawing.reliable
        own = [one for one in lot if one.right and (trusted is None or trusted.has(one.rule, one.lines))]
        return drawing.valued(self._right(even(own, LOT, generator)))

    def _right(self, lot: Sequence[Start]) -> list[Start]:
        """The places at which the model says what the account says when it reads that text alone."""
        if not lot:
            return []
        says = states(self.model, [self._ids(place) for place in lot]).says.tolist()
        return [place for place, token in zip(lot, says, strict=True) if place.token == token]

    def _ids(self, place: Start) -> list[int]:
        return [*self.model.tokenizer.start, *place.own]

    def _tied(self, drawn: Drawn, bases: Sequence[Sequence[Valued]], generator: torch.Generator) -> Tie:
        """The best carrier of all positions, scored on pairs of the other half."""
        found = list[tuple[Chosen, Drawn]]()
        for role, pairs in self._by_role(drawn, bases, generator):
            own = self.half(drawn.drawing, pairs.pairs[0][:CHOOSING], role)
            if role == HERE or len(own) >= LEAST / 4:
                chosen = choose.best(own.moves, role, self._sizes, generator)
                found.append((chosen, pairs))
                if chosen.is_enough and chosen.is_clear and (role == VALUE or chosen.numbers <= self._sizes.head):
                    break
        order = sorted(found, key=lambda one: one[0].order, reverse=True)
        scored = (self._scored(chosen, pairs, generator) for chosen, pairs in order)
        tie = next((one for one in scored if one is not None), None)
        if tie is None:
            return too_few(f"too few pairs have its value in both texts, {LEAST} are needed")
        if tie.carrier is not None and tie.carrier.is_token:
            inner = [(chosen, pairs) for chosen, pairs in order if not chosen.carrier.is_token]
            return replace(tie, inside=self._scored(*inner[0], generator) if inner else None)
        return tie

    def _scored(self, chosen: Chosen, drawn: Drawn, generator: torch.Generator) -> Tie | None:
        """A carrier with its figures; None where there are too few pairs for them."""
        half = self.half(drawn.drawing, drawn.pairs[1], chosen.carrier.role)
        return _scored(half, chosen, self._sizes, drawn, generator) if len(half) >= LEAST else None

    @property
    def _sizes(self) -> CarrierSizes:
        return CarrierSizes.of(self.model)

    def _by_role(
        self, drawn: Drawn, bases: Sequence[Sequence[Valued]], generator: torch.Generator
    ) -> Iterator[tuple[str, Drawn]]:
        """Positions to try, each with its pairs."""
        yield HERE, drawn
        yield VALUE, drawn
        once = [[one for one in own if drawn.drawing.once(one)] for own in bases]
        if (
            again := next((one for one in self._drawn(drawn.drawing, once, generator) if one.enough), None)
        ) is not None:
            yield ONCE, again

    def half(self, drawing: Drawing, pairs: Sequence[PlacePair], role: str) -> Half:
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

    def _ends(self, drawing: Drawing, pair: PlacePair, role: str) -> tuple[int, int] | None:
        """The position with a role among the ids of base and source; None where one of them has none."""
        if role == HERE:
            return len(self._ids(pair.base.place)) - 1, len(self._ids(pair.source.place)) - 1
        base, source = drawing.stands(pair.base, pair.source), drawing.stands(pair.source, pair.base)
        start = len(self.model.tokenizer.start)
        return None if base is None or source is None else (start + base, start + source)


@dataclass(frozen=True)
class Half:
    """Pairs, the moves between them, and the prompts up to where something is taken from."""

    model: Model
    pairs: Sequence[PlacePair]
    made: Sequence[Move]
    prompts: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def moves(self) -> Moves:
        """The moves, ready to be made."""
        return Moves(self.model, self.made, states(self.model, self.prompts))


def _scored(half: Half, chosen: Chosen, sizes: CarrierSizes, drawn: Drawn, generator: torch.Generator) -> Tie:
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
        sources=drawn.sources,
        reliable=drawn.drawing.reliable is not None,
        prompts=len({id(pair.base.place) for pair in half.pairs}),
        rules={rule: _share(first.hits[own]) for rule, own in at_rule.items()},
    )


def _share(hits: torch.Tensor) -> Proportion:
    return Proportion(int(hits.sum()), len(hits))

"""Places of a text where rules speak and are right, and pairs of them at which one variable is told from all else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.accounts.folder import FOLDER
from pellucid.accounts.language import AccountError, Accounts, AccountText, Span
from pellucid.accounts.ties.variables import Quantity
from pellucid.base.errors import SourceError
from pellucid.base.progress import track

LONGEST = 256
"""Tokens of a prompt, at most."""
TRIED = 30
"""Pairs that are drawn for each that is wanted, at most."""
RELIABLE = 0.95
"""How often rules, and lines of tables, are right where they are asked: what is said of others is a guess."""
T = TypeVar("T")
LineKey = tuple[str, str]
"""The name of a table, and the key of a line."""


@dataclass(frozen=True, eq=False)
class Start:
    """A prompt at whose end a rule begins an answer: its first token, and what the rule asked."""

    text: int
    """Which text of the corpus it is the beginning of."""
    row: Sequence[int] = field(repr=False)
    first: int
    """Where in the row the text begins."""
    last: int
    token: int
    rule: str
    file: str
    values: Mapping[str, Any]
    """Those of variables."""
    lines: Sequence[LineKey] = ()
    """Those of tables that were looked up."""
    right: bool = True
    """Whether the model says so."""

    @cached_property
    def own(self) -> list[int]:
        """Its tokens."""
        return list(self.row[self.first : self.last + 1])


@dataclass(frozen=True)
class Valued:
    """A place, and the value of the variable there."""

    place: Start
    value: Any


@dataclass(frozen=True, eq=False)
class PlacePair:
    """Two places with different values of a variable; `token` is the answer at `base` with the value of `source`."""

    base: Valued
    source: Valued
    token: int


def places(
    accounts: Accounts, ids: Int[Tensor, "row pos"], says: Int[Tensor, "row pos"], longest: int = LONGEST
) -> list[Start]:
    """The places of the rows `ids` where a rule begins an answer, which is right if the model `says` its first token.

    Texts before them are of at most `longest` tokens. Raises `SourceError` naming the line that cannot be run.
    """
    found, text = list[Start](), 0
    try:
        for row, own in track(zip(ids.tolist(), says.tolist(), strict=True), "asking the accounts", len(ids)):
            first = 0
            for at, said in enumerate(accounts.said(row)):
                if row[at] in accounts.spelling.ends:
                    first, text = at + 1, text + 1
                elif said and not said.begun and at - first < longest:
                    rule, right = accounts.rules[said.rule], said.token == own[at]
                    values, lines = said.values, said.lines
                    found.append(Start(text, row, first, at, said.token, str(rule), rule.file, values, lines, right))
            text += 1
    except AccountError as error:
        raise SourceError(f"{FOLDER}/{error}") from None
    return found


def halves(found: Sequence[Start], generator: torch.Generator) -> tuple[list[Start], list[Start]]:
    """The places in two lots that share no text."""
    texts = sorted({place.text for place in found})
    order = [texts[at] for at in torch.randperm(len(texts), generator=generator).tolist()]
    first = set(order[: len(order) // 2])
    return [place for place in found if place.text in first], [place for place in found if place.text not in first]


@dataclass(frozen=True)
class Reliable:
    """The rules and lines of tables that are right at nearly all places where they are asked."""

    rules: frozenset[str]
    lines: frozenset[LineKey]

    @staticmethod
    def of(found: Sequence[Start]) -> Reliable:
        """Those of the places that are asked there at all."""
        return Reliable(
            _often((place.rule, place.right) for place in found),
            _often((line, place.right) for place in found for line in place.lines),
        )

    def has(self, rule: str, lines: Sequence[LineKey]) -> bool:
        """Whether a rule is one, and all lines that it looks up are."""
        return rule in self.rules and self.lines.issuperset(lines)


def _often(found: Iterable[tuple[T, bool]]) -> frozenset[T]:
    """What is right as often as is asked."""
    counts: dict[T, list[int]] = {}
    for what, right in found:
        count = counts.setdefault(what, [0, 0])
        count[0] += right
        count[1] += 1
    return frozenset(what for what, (right, all_) in counts.items() if right >= RELIABLE * all_)


def using(found: Sequence[Start], wanted: Quantity) -> list[Start]:
    """Those of the places whose rule uses a quantity, but for variables that it did not come to ask."""
    asks = [place for place in found if place.rule in wanted.rules]
    return asks if wanted.call else [place for place in asks if place.values.get(wanted.name) is not None]


def even(found: Sequence[Start], most: int, generator: torch.Generator) -> list[Start]:
    """At most `most` places in random order, the rules by turns."""
    by_rule: dict[str, list[Start]] = {}
    for at in torch.randperm(len(found), generator=generator).tolist():
        by_rule.setdefault(found[at].rule, []).append(found[at])
    longest = max(map(len, by_rule.values()), default=0)
    return [own[turn] for turn in range(longest) for own in by_rule.values() if turn < len(own)][:most]


@dataclass(frozen=True)
class Drawing:
    """Draws pairs of places at which moving one quantity alone can be told from all else."""

    accounts: Accounts
    wanted: Quantity
    reliable: Reliable | None = None
    """What may say the answer that is expected; None where any rule may."""

    def value(self, place: Start) -> Any:
        """The value of the quantity at a place, whether its rule asks for it or not."""
        known = place.values.get(self.wanted.name) if place.rule in self.wanted.rules else None
        return self._at(self.accounts.row(place.own)) if known is None else known

    def valued(self, lot: Sequence[Start]) -> list[Valued]:
        """The places at which the quantity has a value."""
        found = ((place, self.value(place)) for place in lot)
        return [Valued(place, value) for place, value in found if value is not None]

    def _at(self, row: AccountText) -> Any:
        return self.accounts.value(self.wanted.files[0], self.wanted.key, row)

    def pairs(
        self, bases: Sequence[Valued], sources: Sequence[Valued], wanted: int, generator: torch.Generator
    ) -> list[PlacePair]:
        """At most `wanted` random pairs whose answer differs from what the accounts say at the base and the source.

        That is what the account of the base says of its text with the value of the source.
        """
        rows = [self.accounts.row(base.place.own) for base in bases]
        answers: dict[tuple[int, Any], int | None] = {}
        kept: dict[tuple[int, int], PlacePair] = {}
        for _ in range(TRIED * wanted if bases and sources else 0):
            at, other = (int(torch.randint(len(lot), (1,), generator=generator)) for lot in (bases, sources))
            base, source = bases[at], sources[other]
            if (at, other) in kept or base.value == source.value:
                continue
            if (at, source.value) not in answers:
                answers[at, source.value] = self._answer(base.place, rows[at], source.value)
            if (token := answers[at, source.value]) not in (None, base.place.token, source.place.token):
                kept[at, other] = PlacePair(base, source, token)
                if len(kept) == wanted:
                    break
        return list(kept.values())

    def _answer(self, place: Start, row: AccountText, value: Any) -> int | None:
        """The first token of what the account of a place says there with another value, and differs.

        None if it says nothing else, another account speaks, or what says so is not reliable.
        """
        values = {self.wanted.key: value}
        said = self.accounts.supposing(row, values, place.file)  # quick: most values are told here already
        if said is None or said.token == place.token:
            return None
        said = self.accounts.supposing(row, values)
        if said is None or (rule := self.accounts.rules[said.rule]).file != place.file:
            return None
        return said.token if self.reliable is None or self.reliable.has(str(rule), said.lines) else None

    def stands(self, valued: Valued, other: Valued) -> int | None:
        """Where the value of the quantity is read: the last of its tokens, among those of the place.

        It is where the value of `other`, written instead, becomes that of the quantity; None where there is no such.
        """
        own, new = valued.place.own, other.place.own
        instead = next(self._spans(other), None)
        if instead is None:
            return None
        for span in self._spans(valued):
            changed = own[: span.start] + new[instead.start : instead.end] + own[span.end :]
            if self._at(self.accounts.row(changed)) == other.value:
                return span.end - 1
        return None

    def once(self, valued: Valued) -> bool:
        """Whether the value stands in the text in one place alone."""
        return len(list(self._spans(valued))) == 1

    def _spans(self, valued: Valued) -> Iterator[Span]:
        """Where the value stands in the text of a place, from the last to the first."""
        if isinstance(valued.value, str) and (text := valued.value.strip()):
            row = self.accounts.row(valued.place.own)
            yield from (span for span in reversed(row.found(frozenset({text})).spans) if not span.cut)

"""Places of a text where rules that use a variable speak and are right, and pairs of them that tell it from others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.accounts.folder import FOLDER
from pellucid.accounts.language import AccountError, Accounts, Row, Said
from pellucid.accounts.ties.carrier import HERE, VALUE
from pellucid.accounts.ties.variables import Quantity
from pellucid.base.errors import SourceError
from pellucid.base.progress import track

LONGEST = 256
"""Tokens of a prompt, at most."""
TRIED = 30
"""Pairs that are drawn for each that is wanted, at most."""


@dataclass(frozen=True, eq=False)
class Place:
    """A prompt at whose end a rule speaks first: what it says, by which rule, from which values of variables."""

    text: int
    """Which text of the corpus it is the beginning of."""
    own: tuple[int, ...]
    """Its tokens."""
    opening: tuple[int, ...]
    """What the model reads before them."""
    said: Said
    rule: str
    file: str
    values: dict[str, Any] = field(repr=False)

    @property
    def ids(self) -> tuple[int, ...]:
        """What the model reads."""
        return self.opening + self.own


@dataclass(frozen=True, eq=False)
class Pair:
    """Two places with different values of a variable; `token` is the answer at `base` with the value of `source`."""

    base: Place
    source: Place
    token: int


def places(
    accounts: Accounts, ids: Int[Tensor, "row pos"], says: Int[Tensor, "row pos"], opening: Sequence[int]
) -> list[Place]:
    """The places of the rows `ids` where a rule with variables begins an answer, and the model `says` its first token.

    Raises `SourceError` naming the line that cannot be run.
    """
    found, begun = list[Place](), 0
    rows = zip(ids.tolist(), says.tolist(), strict=True)
    try:
        for row, own in track(rows, "asking the accounts", len(ids)):
            first = 0
            for at, said in enumerate(accounts.said(row)):
                if row[at] in accounts.spelling.ends:
                    first, begun = at + 1, begun + 1
                elif said and said.values and not said.begun and said.token == own[at] and at - first < LONGEST:
                    rule = accounts.rules[said.rule]
                    tokens = tuple(row[first : at + 1])
                    found.append(Place(begun, tokens, tuple(opening), said, str(rule), rule.file, dict(said.values)))
            begun += 1
    except AccountError as error:
        raise SourceError(f"{FOLDER}/{error}") from None
    return found


def using(found: Sequence[Place], wanted: Quantity) -> list[Place]:
    """Those of the places whose rule uses a variable that has a value there."""
    return [place for place in found if place.rule in wanted.rules and place.values.get(wanted.name) is not None]


def halves(found: Sequence[Place], most: int, generator: torch.Generator) -> tuple[list[Place], list[Place]]:
    """Two lots of at most `most` places that share no text, with as many of every rule as there are."""
    texts = sorted({place.text for place in found})
    order = [texts[at] for at in torch.randperm(len(texts), generator=generator).tolist()]
    first = set(order[: len(order) // 2])
    lots = [place for place in found if place.text in first], [place for place in found if place.text not in first]
    return _even(lots[0], most, generator), _even(lots[1], most, generator)


def _even(found: Sequence[Place], most: int, generator: torch.Generator) -> list[Place]:
    """At most `most` places in random order, the rules by turns."""
    by_rule: dict[str, list[Place]] = {}
    for at in torch.randperm(len(found), generator=generator).tolist():
        by_rule.setdefault(found[at].rule, []).append(found[at])
    longest = max(map(len, by_rule.values()), default=0)
    return [own[turn] for turn in range(longest) for own in by_rule.values() if turn < len(own)][:most]


def pairs(
    accounts: Accounts, name: str, lot: Sequence[Place], wanted: int, generator: torch.Generator
) -> list[Pair]:
    """At most `wanted` random pairs of `lot` at which moving the variable `name` alone can be told from all else.

    What the account says at the base with the value of the source differs from what it says at each of the two.
    """
    rows = [accounts.row(place.own) for place in lot]
    kept: dict[tuple[int, int], Pair] = {}
    for _ in range(TRIED * wanted if len(lot) > 1 else 0):
        at, other = torch.randint(len(lot), (2,), generator=generator).tolist()
        if (at, other) not in kept and (pair := _pair(accounts, name, lot[at], lot[other], rows[at])):
            kept[at, other] = pair
            if len(kept) == wanted:
                break
    return list(kept.values())


def _pair(accounts: Accounts, name: str, base: Place, source: Place, row: Row) -> Pair | None:
    value = source.values[name]
    if value == base.values[name]:
        return None
    said = accounts.supposing(row, {name: value})
    if said is None or accounts.rules[said.rule].file != base.file:
        return None
    return Pair(base, source, said.token) if said.token not in (base.said.token, source.said.token) else None


def position(accounts: Accounts, place: Place, name: str, role: str) -> int | None:
    """Where among the ids of a place the position with a role is; None where there is none."""
    if role == HERE:
        return len(place.ids) - 1
    assert role == VALUE
    ends = list(_ends(accounts.row(place.own), place.values[name]))
    return len(place.opening) + ends[-1] if ends else None


def _ends(row: Row, value: Any) -> Iterator[int]:
    """The last tokens of all places where a value stands."""
    if isinstance(value, str) and (text := value.strip()):
        for span in row.found(frozenset({text})).spans:
            if not (span.cut and span.end < len(row.pieces)):
                yield span.end - 1

"""What short rows are told apart by: values that are counted with, compared with one another, and said.

A value is a place, a token, what a look sees most of, or how many places it looks at (`width`). Where tokens are
numbers in order of their ids, from 0 on, all of these are whole numbers that may be compared, added and multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from pellucid.weightless.language import Alphabet, Look

SHORT, SHORTER = 32, 12
"""Only rows of so few places are counted in; of still fewer, every pair of places is a comparison of its own."""
SCALED = (
    "query.position // 2", "query.position // 2 + 1", "(query.position + 1) // 2", "2 * query.position",
    "2 * query.position - 1", "2 * query.position - 2", "2 * query.position + 1",
)  # fmt: skip
TELLS, MOST = 0.04, 40
"""An expression is an answer where it is right in so large a share of cases; no more than so many are tried."""


@dataclass(frozen=True)
class Counted:
    """What may be counted with: the token that every row `opens` with (if one does), and the length of the longest."""

    alphabet: Alphabet
    opens: str | None
    longest: int
    positions: bool

    @staticmethod
    def of(alphabet: Alphabet, rows: Sequence[Mapping[str, Any]], positions: bool) -> Counted:
        """What may be counted in `rows`."""
        first = {int(values["token"][0]) for values in rows}
        once = all((values["token"][1:] != values["token"][0]).all() for values in rows)
        opens = alphabet.names[min(first)] if len(first) == 1 and once else None
        return Counted(alphabet, opens, max(len(values["token"]) for values in rows), positions)

    @property
    def short(self) -> bool:
        """Whether rows are so short that their places can be counted."""
        return self.longest <= SHORT

    @property
    def as_numbers(self) -> bool:
        """Whether the id of a token is the number that it stands for."""
        number = self.alphabet.number
        return self.alphabet.numeric and bool((number[number >= 0] == np.flatnonzero(number >= 0)).all())

    def places(self, at: str, looks: Sequence[Look]) -> list[str]:
        """Values that count places, of the place `at` (`key.`, `query.`, or nothing)."""
        widths = [f"{at}{look.name}.width({self.opens})" for look in looks] if self.opens else []
        return [*([f"{at}position"] if self.positions else []), *widths]

    def tokens(self, at: str, looks: Sequence[Look]) -> list[str]:
        """Values that are tokens."""
        return [f"{at}token", *(f"{at}{look.name}.top" for look in looks)]

    # --- where heads look -------------------------------------------------------------------------------------------

    def comparisons(self, looks: Sequence[Look]) -> list[str]:
        """Comparisons of query and key, simple ones first."""
        if not self.short:
            return []
        found = [f"distance == {steps}" for steps in (-1, -2, -3)] + ["distance < 0", "distance > 0"]
        found = found if self.positions else []
        for key, query in self._pairs(looks):
            found += [f"{key} == {query}", f"{key} < {query}", f"{key} > {query}"]
            found += [f"{key} == {query} + 1", f"{key} == {query} - 1"]
        if self.positions and self.opens:
            rests = [f"query.{look.name}.width({self.opens}) - query.position" for look in looks]
            found += [f"key.position == {rest} + {more}" for rest in rests for more in (0, 1, 2)]
        if self.positions:
            found += [f"key.position == {some}" for some in SCALED]
        found += (mine := self.conditions("key.", looks))
        kept = [f"key.token == {self.opens}"] if self.opens else []
        kept += ["key.position == 1", "distance == 0", "distance == 1", "distance == -1"] if self.positions else []
        found += [f"({asked}) & ({key})" for asked in self.conditions("query.", looks) for key in kept]
        if self.positions:
            turns = [f"query.position % {m} == {r}" for m in (2, 3) for r in range(m)]
            found += [f"({turn}) & ({key})" for turn in turns for key in kept]
            found += [f"key.position % {m} == {r}" for m in (2, 3) for r in range(m)]
        if self.positions and self.longest <= SHORTER:
            every = range(self.longest)
            found += [f"key.position == {at}" for at in every]
            found += [f"(query.position == {one}) & (key.position == {two})" for one in every for two in every]
        return list(dict.fromkeys([*found, *(f"({one}) & ({two})" for one, two in combinations(mine[:12], 2))]))

    def _pairs(self, looks: Sequence[Look]) -> list[tuple[str, str]]:
        """Pairs of a value of the key and a value of the query that can be compared, but two positions or tokens."""
        places = list(product(self.places("key.", looks), self.places("query.", looks)))
        tokens = list(product(self.tokens("key.", looks), self.tokens("query.", looks)))
        mixed: list[tuple[str, str]] = []
        if self.as_numbers:
            mixed = list(product(self.tokens("key.", looks), self.places("query.", looks)))
            mixed += product(self.places("key.", looks), self.tokens("query.", looks))
        plain = ("key.position", "query.position")
        return [pair for pair in [*places, *tokens, *mixed] if pair != plain]

    def conditions(self, at: str, looks: Sequence[Look]) -> list[str]:
        """Comparisons of two values of one place."""
        groups = [self.places(at, looks), self.tokens(at, looks)]
        groups = [[*groups[0], *groups[1]]] if self.as_numbers else groups
        pairs = [pair for group in groups for pair in combinations(group, 2)]
        signs = ("==", "<", ">") if self.as_numbers else ("==",)
        return [f"{one} {sign} {two}" for one, two in pairs for sign in signs]

    def averages(self, looks: Sequence[Look]) -> tuple[tuple[str, str], ...]:
        """Numbers that a look may average: places, numbers, and how often a comparison holds."""
        if not self.short:
            return ()
        plain = [("where", "key.position")] if self.positions else []
        plain += [("number", "key.number")] if self.as_numbers else []
        words = {"==": "is", "<": "below", ">": "above"}
        held = [
            (f"{one} {words[sign]} {two}".replace("key.", ""), text)
            for text in (self.conditions("key.", looks) if looks else [])
            for one, sign, two in [text.split(" ")]
        ]
        seen = [(value.replace("key.", ""), value) for value in self.places("key.", looks)[1:]]
        return (*plain, *seen, *held)

    def names(self, looks: Sequence[Look]) -> set[str]:
        """What these averages are called."""
        return {name for name, _ in self.averages(looks)}

    # --- what is asked and said -------------------------------------------------------------------------------------

    def values(self, looks: Sequence[Look]) -> list[str]:
        """Whole numbers at a place."""
        return [*self.places("", looks), *(self.tokens("", looks) if self.as_numbers else [])]

    def questions(self, looks: Sequence[Look]) -> list[str]:
        """Questions about the values of a place."""
        if not self.short:
            return []
        values = self.values(looks)
        found = [*values, *(f"{one} - {two}" for one, two in combinations(values, 2))]
        found += [f"2 * {one} - {two}" for one, two in product(values, values) if one == "position" != two]
        found += [f"{one} + {two}" for one, two in combinations(values, 2)]
        found += [f"{value} % {m} == {r}" for value in values for m in (2, 3) for r in range(m if m > 2 else 1)]
        tops = self.tokens("", looks)
        return [*found, *(f"{one} == {two}" for one, two in combinations(tops, 2))]

    def answers(self, looks: Sequence[Look], values: Mapping[str, Any], given: np.ndarray) -> list[str]:
        """Expressions that say what the model says in many cases, those that do so most often first."""
        if not (self.short and self.as_numbers):
            return []
        atoms = self.values(looks)
        atoms += ["position - 1"] if self.positions else []
        found = [*atoms, *(f"{value} {more}" for value in atoms for more in ("+ 1", "- 1", "* 2", "* 3", "// 2"))]
        for one, two in combinations(atoms, 2):
            found += [f"{one} + {two}", f"{one} - {two}", f"{two} - {_held(one)}", f"{_held(one)} * {_held(two)}"]
            found += [f"maximum({one}, {two})", f"minimum({one}, {two})"]
        scope, seen = self.alphabet.constants | dict(values), dict[bytes, str]()
        shares: dict[str, float] = {}
        for text in sorted(found, key=len):
            right = np.asarray(eval(text, {"__builtins__": {}}, scope)) == given
            mark = np.packbits(right).tobytes()
            if right.mean() >= TELLS and mark not in seen:
                seen[mark], shares[text] = text, float(right.mean())
        return sorted(shares, key=lambda text: -shares[text])[:MOST]


def _held(text: str) -> str:
    return f"({text})" if " " in text else text

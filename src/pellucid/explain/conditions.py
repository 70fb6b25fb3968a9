"""When a part is active, as a short list of lines: "on A or B behind C". Found from what it does, without a model.

A line is some conditions that all hold: the token so many places back is one of some; it stood in the text before. Of
all sets of tokens at one distance, the one that takes most of the variance away is among those that have the tokens
with the highest means (Fisher 1958; means are drawn to the common one where a token is rare). Conditions are added to
a line, and lines to the list, as long as they also take error away on places that they were not chosen on. Lines say
where a part is active, never where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.listing.wrap import quoted

Ids = Int[np.ndarray, "row pos"]
Values = Float[np.ndarray, "row pos"]
Held = Bool[np.ndarray, "row pos"]
TokenText = Callable[[int], str]
STEPS: Final = (0, 1, 2, 3)
"""How many places back tokens are looked at."""
LINES, CONDITIONS = 5, 3
RARE: Final = 3.0
"""A token's mean is drawn to the common one as if it had been seen so often more."""
GAIN: Final = 0.01
"""The share of all variance that a condition or line has to take away."""
PRICE: Final = 0.002
"""The share of all variance that every token of a set has to take away: sets are to be read."""
NAMED: Final = 12
"""Tokens of a set that are written out."""


@dataclass(frozen=True)
class Among:
    """The token `steps` places back is one of `tokens`; `named` are those that carry most, for the words."""

    steps: int
    tokens: frozenset[int]
    named: tuple[int, ...]

    def holds(self, ids: Ids) -> Held:
        """Where it does."""
        found = np.zeros(ids.shape, dtype=bool)
        found[:, self.steps :] = np.isin(ids, [*self.tokens])[:, : ids.shape[1] - self.steps]
        return found


@dataclass(frozen=True)
class SeenBefore:
    """The token stood in the row before."""

    def holds(self, ids: Ids) -> Held:
        """Where it did."""
        found = np.zeros(ids.shape, dtype=bool)
        for row, tokens in enumerate(ids.tolist()):
            seen: set[int] = set()
            for at, token in enumerate(tokens):
                found[row, at] = token in seen
                seen.add(token)
        return found


@dataclass(frozen=True)
class AtStart:
    """The place is among the first so many of the row."""

    count: int

    def holds(self, ids: Ids) -> Held:
        """Where it is."""
        found = np.zeros(ids.shape, dtype=bool)
        found[:, : self.count] = True
        return found


Condition = Among | SeenBefore | AtStart


@dataclass(frozen=True)
class Line:
    """Where all `conditions` hold the part does `value`; `share` is how much of all it does it does there."""

    conditions: tuple[Condition, ...]
    value: float
    share: float

    def holds(self, ids: Ids) -> Held:
        """Where all its conditions hold."""
        found = np.ones(ids.shape, dtype=bool)
        for condition in self.conditions:
            found &= condition.holds(ids)
        return found


@dataclass(frozen=True)
class Rule:
    """The first line that holds says what a part does; `otherwise` where none does."""

    lines: tuple[Line, ...]
    otherwise: float

    def predict(self, ids: Ids) -> Values:
        """What the part does at every place."""
        found = np.full(ids.shape, self.otherwise)
        for line in reversed(self.lines):
            found[line.holds(ids)] = line.value
        return found

    def words(self, token_text: TokenText) -> str:
        """The rule as a sentence."""
        if not self.lines:
            return "Nothing about the tokens here and before tells where it is active."
        said = "; ".join(_line(line, token_text) for line in self.lines)
        return f"Active {said}."


def find_rule(ids: Ids, values: Values) -> Rule:
    """The rule of a part from what it does on rows: every fourth row is kept to choose on."""
    check = np.arange(len(ids)) % 4 == 3
    if not check.any():
        check[-1:] = True
    grower = _Grower(ids, values, check)
    lines: list[Line] = []
    left = np.ones(ids.shape, dtype=bool)
    while len(lines) < LINES and (line := grower.line(left)):
        lines.append(line)
        left &= ~line.holds(ids)
    lines.sort(key=lambda line: -line.share)
    return _settled(lines, ids, values)


def _settled(lines: Sequence[Line], ids: Ids, values: Values) -> Rule:
    """The lines in their order, each with the mean of the places that it is the first to hold at."""
    left = np.ones(ids.shape, dtype=bool)
    whole = max(float(values.sum()), 1e-30)
    found = []
    for line in lines:
        own = line.holds(ids) & left
        left &= ~own
        if own.any():
            found.append(Line(line.conditions, float(values[own].mean()), float(values[own].sum()) / whole))
    return Rule(tuple(found), float(values[left].mean()) if left.any() else 0.0)


class _Grower:
    """Grows lines for one part."""

    def __init__(self, ids: Ids, values: Values, check: Bool[np.ndarray, " row"]) -> None:
        self.ids, self.values = ids, values.astype(float)
        self.fit = np.broadcast_to(~check[:, None], ids.shape)
        self.check = np.broadcast_to(check[:, None], ids.shape)
        self.variance = max(float(((self.values - self.values.mean()) ** 2).mean()), 1e-30)
        self.plain: list[Condition] = [SeenBefore(), AtStart(1), AtStart(4)]
        self.held = {condition: condition.holds(ids) for condition in self.plain}

    def line(self, left: Held) -> Line | None:
        """The best line for the places that are `left`."""
        within, conditions = left.copy(), list[Condition]()
        while len(conditions) < CONDITIONS and (found := self._condition(within, conditions)):
            conditions.append(found)
            within &= self._holds(found)
        if not conditions:
            return None
        return Line(tuple(conditions), float(self.values[within].mean()), float(self.values[within].sum()))

    def _holds(self, condition: Condition) -> Held:
        return self.held[condition] if condition in self.held else condition.holds(self.ids)

    def _condition(self, within: Held, before: Sequence[Condition]) -> Condition | None:
        """The condition that takes most error away within `within`, if it does so on check rows too."""
        taken = {condition.steps for condition in before if isinstance(condition, Among)}
        tried = [self._among(within, steps) for steps in STEPS if steps not in taken]
        tried += [self._plain(within, condition) for condition in self.plain if condition not in before]
        for gain, condition in sorted((found for found in tried if found), key=lambda found: -found[0]):
            if gain < GAIN:
                return None
            if self._gain(within & self.check, self._holds(condition)) * 4 >= GAIN:
                return condition
        return None

    def _gain(self, within: Held, held: Held) -> float:
        """The share of all variance that telling `held` from the rest of `within` takes away; only where it is more."""
        inside, outside = self.values[within & held], self.values[within & ~held]
        if not len(inside) or not len(outside) or inside.mean() <= outside.mean():
            return 0.0
        between = len(inside) * len(outside) / (len(inside) + len(outside)) * (inside.mean() - outside.mean()) ** 2
        return float(between / (self.values.size * self.variance))

    def _plain(self, within: Held, condition: Condition) -> tuple[float, Condition]:
        return self._gain(within & self.fit, self._holds(condition)), condition

    def _among(self, within: Held, steps: int) -> tuple[float, Condition] | None:
        """The best set of tokens at one distance."""
        shifted = np.zeros(self.ids.shape, dtype=bool)
        shifted[:, steps:] = True
        own = within & self.fit & shifted
        if not own.any():
            return None
        rows, at = np.nonzero(own)
        tokens, y = self.ids[rows, at - steps], self.values[own]
        kinds, inverse, counts = np.unique(tokens, return_inverse=True, return_counts=True)
        sums = np.bincount(inverse, y, len(kinds))
        mean = y.mean()
        order = np.argsort(-(sums + RARE * mean) / (counts + RARE), kind="stable")
        n, s = np.cumsum(counts[order])[:-1], np.cumsum(sums[order])[:-1]
        if not len(n):
            return None
        between = (s - n * mean) ** 2 * len(y) / (n * (len(y) - n))
        best = int((between - PRICE * self.variance * self.values.size * np.arange(1, len(n) + 1)).argmax())
        chosen = order[: best + 1]
        heaviest = chosen[np.argsort(-sums[chosen], kind="stable")][:NAMED]
        among = Among(steps, frozenset(kinds[chosen].tolist()), tuple(kinds[heaviest].tolist()))
        return self._gain(within & self.fit, self._holds(among)), among


# --- in words ---------------------------------------------------------------------------------------------------------


def _line(line: Line, token_text: TokenText) -> str:
    """A line in words, with the share of all that the part does."""
    ordered = sorted(line.conditions, key=lambda one: (not isinstance(one, Among), getattr(one, "steps", 0)))
    said = [_said(condition, token_text) for condition in ordered]
    return f"{', '.join(said)} ({100 * line.share:.0f} % of what it does)"


def _said(condition: Condition, token_text: TokenText) -> str:
    match condition:
        case Among(steps, tokens, named):
            listed = ", ".join(quoted(token_text(token)) for token in named)
            more = f" and {len(tokens) - len(named)} more" if len(tokens) > len(named) else ""
            where = {0: "on", 1: "behind"}.get(steps, f"{steps} tokens behind")
            return f"{where} {listed}{more}"
        case SeenBefore():
            return "where the token stood in the text before"
        case AtStart(1):
            return "on the first token of the text"
        case AtStart(count):
            return f"on the first {count} tokens of the text"

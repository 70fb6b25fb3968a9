"""The language of this program: values at places of a row of tokens, looks at earlier places, and an answer.

A row is a list of token ids. A look is attention: every place looks back at all places up to itself, shares its
attention among them by a softmax over named comparisons of query and key, and so sees what stands there: `.share(X)` is
the share that lies on token X, `.top` the token with the largest share, `.mean("name")` the average of a number over
the places looked at. The answer at a place is decided from the token, the position and what the looks see there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
NEVER = -1e9


@dataclass(eq=False)
class Seen:
    """What a look saw: shares of the vocabulary on the last axis, and averages of numbers by name."""

    shares: Array
    means: dict[str, Any] = field(default_factory=dict)

    def share(self, token: int) -> Any:
        """The share of attention that lies on `token`."""
        return self.shares[..., token]

    def on(self, tokens: Any) -> Any:
        """The share of attention that lies on the token that `tokens` names, place by place."""
        tokens = np.asarray(tokens)
        shape = np.broadcast_shapes(self.shares.shape[:-1], tokens.shape)
        shares = np.broadcast_to(self.shares, (*shape, self.shares.shape[-1]))
        return np.take_along_axis(shares, np.broadcast_to(tokens, shape)[..., None], -1)[..., 0]

    @property
    def top(self) -> Any:
        """The token with the largest share; of equals, that with the smallest id."""
        return self.shares.argmax(-1)

    def least(self, part: float) -> Any:
        """The smallest token whose share is at least `part` of the largest share."""
        return (self.shares >= part * self.shares.max(-1, keepdims=True)).argmax(-1)

    def above(self, tokens: Any, last: int) -> Any:
        """The token with the largest share of those behind the one that `tokens` names, up to `last`."""
        ids = np.arange(self.shares.shape[-1])
        behind = (ids > np.asarray(tokens)[..., None]) & (ids <= last)
        return np.where(behind, self.shares, -1.0).argmax(-1)

    def best(self, handicap: Any) -> Any:
        """The token with the largest share after every token's `handicap` is added to it."""
        return (self.shares + np.asarray(handicap)).argmax(-1)

    def heaviest(self, weight: Any) -> Any:
        """The token with the largest share after every share is multiplied by the token's `weight`."""
        return (self.shares * np.asarray(weight)).argmax(-1)

    @property
    def peak(self) -> Any:
        """The largest share."""
        return self.shares.max(-1)

    def mean(self, name: str) -> Any:
        """The average of the number `name` over the places looked at."""
        return self.means[name]

    def __getitem__(self, places: Any) -> Seen:
        return Seen(self.shares[places], {name: values[places] for name, values in self.means.items()})

    def __setitem__(self, places: Any, other: Seen) -> None:
        self.shares[places] = other.shares
        for name, value in other.means.items():
            self.means[name][places] = value


class Place:
    """The values of a row as queries (`[place, 1]`) or as keys (`[1, place]`), so that they compare in pairs."""

    def __init__(self, values: Mapping[str, Any], layout: tuple[slice | None, ...]) -> None:
        self.values, self.layout = values, layout

    def __getattr__(self, name: str) -> Any:
        return self.values[name][self.layout]


def attend(scores: Any, values: Mapping[str, Any], vocabulary: int, numbers: Mapping[str, Any]) -> Seen:
    """Attention by `scores` [query, key], never to later places, and what it sees there."""
    token = values["token"]
    scores = np.broadcast_to(np.asarray(scores, float), (len(token), len(token)))
    scores = np.where(np.triu(np.ones(scores.shape, bool), 1), NEVER, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    means = {name: (weights * np.broadcast_to(number, scores.shape)).sum(-1) for name, number in numbers.items()}
    return Seen(weights @ np.eye(vocabulary)[token], means)


def follow(tokens: Any, after: Mapping[int, Sequence[int]]) -> Array:
    """The state after every token, from state 0 on; tokens that `after` lacks change nothing."""
    state, found = 0, []
    for token in tokens:
        state = after[int(token)][state] if int(token) in after else state
        found.append(state)
    return np.array(found)


def run(
    looks: Mapping[str, Callable[..., Any]],
    row: Any,
    number: Array,
    given: Mapping[tuple[str, int], Any] | None = None,
) -> dict[str, Any]:
    """All values of a row. `given` replaces the position, or what a look saw, at a place: later looks see that."""
    token, position = np.asarray(row), np.arange(len(row))
    for (name, place), other in (given or {}).items():
        if name == "position":
            position[place] = other
    values: dict[str, Any] = {"token": token, "position": position, "number": number[token]}
    query, key = Place(values, (slice(None), None)), Place(values, (None, slice(None)))
    for name, function in looks.items():
        with np.errstate(all="ignore"):  # what is compared with later places is never used
            seen = function(query, key, values)
        for (look, place), other in (given or {}).items():
            if look == name:
                seen[place] = other
        values[name] = seen
    return values

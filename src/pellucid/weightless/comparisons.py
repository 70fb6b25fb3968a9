"""Which comparisons of a query and a key a head's scores may be made of, as expressions over named values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pellucid.weightless.language import Alphabet, Look
from pellucid.weightless.prelude import Seen

FAR = "log(1 + maximum(distance, 0))"
SMALL = 12
"""Up to so many tokens, every pair of tokens is a comparison of its own."""


def proposals(alphabet: Alphabet, present: Sequence[int], looks: Sequence[Look], positions: bool) -> list[str]:
    """All comparisons for a head that comes after `looks`, simple ones first; `present` tokens occur in rows.

    Without `positions` only tokens and what looks saw are compared.
    """
    small = len(present) <= SMALL
    names = [alphabet.names[id] for id in present if small or id in alphabet.special]
    found = ["key.token == query.token", *(_places() if positions else []), *_numbers(alphabet)]
    for name in names:
        found += [f"key.token == {name}"]
    for name in names:
        found += [f"(query.token == {name}) & (key.token == {other})" for other in names]
        if positions:
            near = ("distance == 0", "distance == 1", "distance == 2", "distance", FAR)
            found += [f"(query.token == {name}) * ({place})" for place in near]
            found += [f"(key.token == {name}) * ({place})" for place in ("distance == 1", "distance == 2", "distance")]
    for look in looks:
        found += _looks(look.name, names, small)
    return found


def _places() -> list[str]:
    near = [f"distance == {steps}" for steps in range(4)]
    turns = [f"distance % {m} == {r}" for m in (2, 3, 4) for r in range(m)]
    first = [f"key.position == {place}" for place in (1, 2, 3)]
    return [*near, *turns, *first, "0.1 * distance", FAR, "0.1 * key.position", "log(1 + key.position)"]


def _numbers(alphabet: Alphabet) -> list[str]:
    if not alphabet.numeric:
        return []
    ahead, behind = "maximum(key.number - query.number, 1)", "maximum(query.number - key.number, 1)"
    signs = ["key.number > query.number", "key.number < query.number", "key.number >= 0", "0.1 * key.number"]
    bent = [f"0.1 * minimum({ahead}, {most})" for most in (10, 30, 90)]
    return [*signs, f"log({ahead})", f"log({behind})", f"0.1 * {ahead}", f"0.1 * {behind}", *bent]


def _looks(look: str, names: Sequence[str], small: bool) -> list[str]:
    found = [f"key.{look}.on(query.token)", f"query.{look}.on(key.token)"]
    for name in names:
        found += [f"key.{look}.share({name})"]
    for name in names:
        for other in names:
            found += [f"(query.token == {name}) * key.{look}.share({other})"]
            if small:
                found += [f"(key.token == {name}) * query.{look}.share({other})"]
                found += [f"query.{look}.share({name}) * key.{look}.share({other})"]
    return found


@dataclass(frozen=True, eq=False)
class SideValues:
    """Values of the queries, or of the keys, of many pairs: one entry a pair."""

    token: Int[np.ndarray, " pair"]
    position: Int[np.ndarray, " pair"]
    number: Int[np.ndarray, " pair"]
    seen: dict[str, Seen]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.seen[name]
        except KeyError:
            raise AttributeError(name) from None


def evaluate(
    texts: Sequence[str], alphabet: Alphabet, query: SideValues, key: SideValues
) -> Float[np.ndarray, "text pair"]:
    """What every comparison gives for every pair."""
    scope = alphabet.constants | {"query": query, "key": key, "distance": query.position - key.position}
    return np.stack([np.asarray(eval(text, {"__builtins__": {}}, scope), float) for text in texts])

"""Which questions a program may ask about the values at a place, and which answers it may give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pellucid.weightless.comparisons import SMALL
from pellucid.weightless.language import Alphabet, Look
from pellucid.weightless.task import Judged

MOST_CONSTANTS = 12
PARTS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def questions(
    alphabet: Alphabet, present: Sequence[int], looks: Sequence[Look], positions: bool, planes: Sequence[str]
) -> list[str]:
    """Expressions over `token`, `position` and what each look sees, simple ones first; `planes` follow the tokens."""
    small = len(present) <= SMALL
    names = [alphabet.names[id] for id in present if small or id in alphabet.special]
    content = [alphabet.names[id] for id in present if id not in alphabet.special] if small else []
    first = [alphabet.names[id] for id in present if id in alphabet.special]
    found = [*(f"token == {name}" for name in names), *planes]
    for look in looks:
        found += _of_look(look, names, content, first[:1], _largest(alphabet), positions)
    for look, other in combinations(looks, 2):
        found += [f"{look.name}.top == {other.name}.top"]
        found += [f"{look.name}.share({name}) - {other.name}.share({name})" for name in content]
        found += [f"{look.name}.share({name}) + {other.name}.share({name})" for name in content]
    turns = [f"position % {m} == {r}" for m in (2, 3, 4) for r in range(m if m > 2 else 1)]
    return [*found, *turns] if positions else found


def _of_look(
    look: Look, names: Sequence[str], content: Sequence[str], start: Sequence[str], largest: str, positions: bool
) -> list[str]:
    at = look.name
    found = [f"{at}.top == {name}" for name in names]
    found += [f"{at}.share({name})" for name in names]
    found += [f"{at}.share({name}) - {at}.share({other})" for name, other in combinations(names, 2)]
    found += [f"{at}.share({name}) / {at}.share({opens})" for name in content for opens in start]
    for name, other in combinations(content, 2):
        found += [f"({at}.share({name}) - {at}.share({other})) / {at}.share({opens})" for opens in start]
        found += [f"({at}.share({name}) - {at}.share({other})) * (position + 1)"] if positions else []
    found += [f"{at}.top == token", f"{at}.on(token)", f"{at}.peak"]
    found += [f'{at}.mean("{name}")' for name, _ in look.numbers]
    found += [f'{at}.mean("{one}") - {at}.mean("{two}")' for (one, _), (two, _) in combinations(look.numbers[:6], 2)]
    if largest:
        seen = [f"{at}.on(token)", *(f'{at}.mean("{name}")' for name, _ in look.numbers)]
        units = [f"{at}.peak", *(f"{at}.share({name})" for name in names)]
        found += [f"{one} / {unit}" for one in seen for unit in units]
        found += [f"({at}.top > token) & ({at}.top <= {largest})", f"{at}.top == token + 1"]
    return found


def scale_free(text: str) -> bool:
    """Whether a question has the same answer where all shares of a look are half as large.

    A soft look gives one token of a row of n a share of 1 / n: what is asked about such shares themselves holds for one
    length.
    """
    return " / " in text or text.endswith(" > 0") or not re.search(r"\.(share|on|peak|mean)\b", text)


def _largest(alphabet: Alphabet) -> str:
    """The name of the largest number, empty where tokens are no numbers."""
    return alphabet.names[int(np.flatnonzero(alphabet.number >= 0)[-1])] if alphabet.numeric else ""


def answer_text(alphabet: Alphabet, kind: Judged, answer: np.ndarray) -> str:
    """An answer of the model as a program says it: a token, or a set of tokens."""
    if kind != "set":
        return alphabet.names[int(answer)]
    return "{" + ", ".join(alphabet.names[id] for id in np.flatnonzero(answer)) + "}" if answer.any() else "()"


def choices(
    alphabet: Alphabet, kind: Judged, given: np.ndarray, looks: Sequence[Look], tables: Mapping[str, Any]
) -> tuple[list[str], list[np.ndarray | int | None]]:
    """Answers as expressions, and the constants that they are (None for expressions over values).

    `given` are the model's answers [case] or [case vocab]: constants are those that it gives most.
    """
    if kind == "set":
        rows, counts = np.unique(given, axis=0, return_counts=True)
        order = counts.argsort()[::-1][: 2 * MOST_CONSTANTS]
        return [answer_text(alphabet, kind, rows[at]) for at in order], [rows[at] for at in order]
    ids, counts = np.unique(given, return_counts=True)
    order = counts.argsort()[::-1]
    few = len(ids) <= MOST_CONSTANTS
    constants = [int(ids[at]) for at in order if few or ids[at] in alphabet.special]
    near = ["token + 1", "token - 1"] if alphabet.numeric else []
    texts = [*(f"{look.name}.top" for look in looks), "token", *near]
    texts += [f"{look.name}.least({part})" for look in looks for part in PARTS if alphabet.numeric]
    texts += [f"{look.name}.above(token, {_largest(alphabet)})" for look in looks if alphabet.numeric]
    for look in looks:
        own = [table for table in tables if table.endswith(look.name.upper())]
        texts += [f"{look.name}.{'best' if table.startswith('HANDICAP') else 'heaviest'}({table})" for table in own]
    return [*(alphabet.names[id] for id in constants), *texts], [*constants, *([None] * len(texts))]


def evaluate(texts: Sequence[str], alphabet: Alphabet, values: Mapping[str, Any]) -> Float[np.ndarray, "text case"]:
    """What every question gives in every case; not-a-number counts as 0."""
    scope = alphabet.constants | dict(values)
    size = len(values["token"])
    with np.errstate(all="ignore"):
        rows = [np.asarray(eval(text, {"__builtins__": {}}, scope), float) for text in texts]
    stacked = np.stack([np.broadcast_to(row, (size,)) for row in rows])
    return np.asarray(np.nan_to_num(stacked, posinf=1e6, neginf=-1e6))


def right(
    texts: Sequence[str],
    constants: Sequence[np.ndarray | int | None],
    kind: Judged,
    alphabet: Alphabet,
    values: Mapping[str, Any],
    given: np.ndarray,
    tables: Mapping[str, Any],
) -> Bool[np.ndarray, "case choice"]:
    """Which choices say in each case what the model says."""
    scope = alphabet.constants | dict(tables) | dict(values)
    columns = []
    for text, constant in zip(texts, constants, strict=True):
        if kind == "set":
            columns.append(np.asarray((given == constant).all(-1)))
        else:
            said = constant if constant is not None else eval(text, {"__builtins__": {}}, scope)
            columns.append(given == said)
    return np.stack([np.broadcast_to(column, (len(given),)) for column in columns], 1)

"""Linear questions: where, among what a look sees, the model changes from one answer to another.

Close to such a boundary the logit that decides is nearly linear in what is seen, whatever norms and neurons do far from
it. A question is the plane on which a regression of that logit, on cases near the boundary, is zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.match.weightless.cases import States
from pellucid.match.weightless.emit import number_text
from pellucid.match.weightless.language import Alphabet, Look

MOST_PAIRS = 10
MOST_HANDICAPS = 60
"""Larger vocabularies get no handicaps: they would be a table."""
NEAREST = 150


def planes(states: States, looks: Sequence[Look], alphabet: Alphabet, present: Sequence[int]) -> list[str]:
    """Questions `a * x + b * y > 0` over shares, one a pair of frequent answers, for all tokens and for each."""
    axes = [f"{look.name}.share({alphabet.names[id]})" for look in looks for id in present]
    matrix = np.stack([_column(text, alphabet, states) for text in axes], 1)
    said, kinds = _kinds(states)
    frequent = [kind for kind, count in Counter(kinds.tolist()).most_common(9) if count >= 20]
    found: dict[str, None] = {}
    tokens = states.values["token"]
    wheres = [np.ones(len(tokens), bool), *(tokens == id for id in present)]
    for where in wheres:
        tries = []
        for one, two in combinations(frequent, 2):
            mine = where & ((kinds == one) | (kinds == two))
            fewest = min(int((kinds[mine] == one).sum()), int((kinds[mine] == two).sum()))
            if fewest >= 15:
                tries.append((fewest, one, two, mine))
        for _, one, two, mine in sorted(tries, key=lambda entry: -entry[0])[:MOST_PAIRS]:
            deciding = _deciding(states, said[one], said[two])
            for column in deciding:
                if text := _plane(matrix[mine], column[mine], axes):
                    found[text] = None
    return list(found)


def _column(text: str, alphabet: Alphabet, states: States) -> Float[np.ndarray, " case"]:
    return np.asarray(eval(text, {"__builtins__": {}}, alphabet.constants | states.values), float)


def _kinds(states: States) -> tuple[np.ndarray, np.ndarray]:
    """The distinct answers, and which each case has."""
    kinds, which = np.unique(states.answer, axis=0, return_inverse=True)
    return kinds, which.ravel()


def _deciding(states: States, one: Any, two: Any) -> list[np.ndarray]:
    """The logits, or difference of logits, whose sign tells the answers `one` and `two` apart."""
    if states.kind == "set":
        return [states.logits[:, id] for id in np.flatnonzero(one != two)[:2]]
    return [states.logits[:, int(one)] - states.logits[:, int(two)]]


def _plane(
    matrix: Float[np.ndarray, "case axis"], logit: Float[np.ndarray, " case"], axes: Sequence[str]
) -> str | None:
    """The plane where `logit` is zero, from the cases nearest to that on either side; None where it is no plane."""
    near = np.concatenate([part[np.abs(logit[part]).argsort()[:NEAREST]] for part in _sides(logit)])
    x, y = matrix[near], logit[near]
    weight = 1 / (np.median(np.abs(y)) + np.abs(y))
    ridge = 1e-6 * len(near) * np.eye(x.shape[1])
    slope = np.linalg.solve((x * weight[:, None]).T @ x + ridge, (x * weight[:, None]).T @ y)
    if ((x @ slope > 0) == (y > 0)).mean() < 0.9 or not np.isfinite(slope).all():
        return None
    slope = slope / np.abs(slope).max()
    terms = [(value, text) for value, text in zip(slope, axes, strict=True) if abs(value) >= 5e-4]
    first, *rest = (f"{'-' if value < 0 else '+'} {number_text(abs(value))} * {text}" for value, text in terms)
    return " ".join([first.removeprefix("+ ").replace("- ", "-"), *rest]) + " > 0"


def _sides(logit: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(logit > 0), np.flatnonzero(logit <= 0)]


def handicaps(states: States, looks: Sequence[Look], alphabet: Alphabet) -> dict[str, tuple[float, ...]]:
    """For each look, what every token's share is short of or ahead by, where the largest share is not what is said.

    A multinomial regression of the model's answer on shares, with one slope for all tokens and an offset for each.
    """
    content = np.array([id for id in range(len(alphabet.texts)) if id not in alphabet.special])
    if states.kind == "set" or not 2 < len(content) <= MOST_HANDICAPS:
        return {}
    mine = np.isin(states.answer, content)
    if not mine.any():
        return {}
    found = {}
    target = (states.answer[mine][:, None] == content[None]).astype(float)
    for look in looks:
        shares = states.values[look.name].shares[mine][:, content]
        slope, offset = _multinomial(shares, target)
        if slope > 0:
            table = np.zeros(len(alphabet.texts))
            table[content] = offset / slope
            table[list(alphabet.special)] = -1.0
            found[f"HANDICAP_{look.name.upper()}"] = tuple(float(f"{value:.2g}") for value in table)
    return found


def _multinomial(shares: np.ndarray, target: np.ndarray, steps: int = 400) -> tuple[float, np.ndarray]:
    """Slope and offsets by gradient ascent with momentum (Nesterov, 1983), lightly regularised."""
    slope, offset = 10.0, np.zeros(shares.shape[1])
    speed_slope, speed_offset = 0.0, np.zeros_like(offset)
    for step in range(steps):
        momentum = step / (step + 3)
        s, o = slope + momentum * speed_slope, offset + momentum * speed_offset
        logits = s * shares + o
        weights = np.exp(logits - logits.max(1, keepdims=True))
        error = target - weights / weights.sum(1, keepdims=True)
        speed_slope = momentum * speed_slope + 40.0 * float((error * shares).sum(1).mean())
        speed_offset = momentum * speed_offset + 4.0 * (error.mean(0) - 1e-4 * o)
        slope, offset = slope + speed_slope, offset + speed_offset
    return slope, offset

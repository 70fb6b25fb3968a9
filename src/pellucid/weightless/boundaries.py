"""Linear questions: where, among what a look sees, the model changes from one answer to another.

Close to such a boundary the logit that decides is nearly linear in what is seen, whatever norms and neurons do far from
it. A question is the plane on which a regression of that logit, on cases near the boundary, is zero.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from pellucid.weightless.cases import CaseStates
from pellucid.weightless.emit import number_text
from pellucid.weightless.language import Alphabet, Look

MOST_PAIRS = 10
MOST_HANDICAPS = 60
"""Larger vocabularies get no handicaps: they would be a table."""
NEAREST = 150
UNIT = 1e-6
SHARP = 100.0
SOFT, HARD = 100.0, 10_000.0


def planes(
    states: CaseStates, looks: Sequence[Look], alphabet: Alphabet, present: Sequence[int], margins: Sequence[float]
) -> list[str]:
    """Questions `a * x + b * y > 0` over shares, for pairs of frequent answers, for all tokens and for each.

    With `margins` also the planes that keep cases of either answer furthest away: so hard, or softer.
    """
    axes = [f"{look.name}.share({alphabet.names[id]})" for look in looks for id in present]
    matrix = np.stack([_column(text, alphabet, states) for text in axes], 1)
    said, kinds = _kinds(states)
    frequent = [kind for kind, count in Counter(kinds.tolist()).most_common(9) if count >= 20]
    found: dict[str | None, None] = {}
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
            found |= dict.fromkeys(_plane(matrix[mine], column[mine], axes) for column in deciding)
            found |= dict.fromkeys(_margin(matrix[mine], kinds[mine] == one, hard, axes) for hard in margins)
    return [text for text in found if text]


def _margin(
    matrix: Float[np.ndarray, "case axis"], above: Bool[np.ndarray, " case"], hard: float, axes: Sequence[str]
) -> str | None:
    """The plane of the widest margin between two answers, shares being counted in units of the smallest one there is.

    In a row of n tokens that a head sees alike, the smallest share is that of one token: so measured, one token more or
    less makes the same difference in every row, and a plane found on short rows holds for longer ones.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    unit = np.where(matrix > UNIT, matrix, np.inf).min(1, keepdims=True)
    fitted = LogisticRegression(C=hard, fit_intercept=False, class_weight="balanced", solver="newton-cholesky")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slopes grow without end where nothing is on the wrong side
        slope = fitted.fit(matrix / unit, above).coef_[0]
    return _text(slope, axes) if _tells(slope, matrix, above) else None


def _tells(
    slope: Float[np.ndarray, " axis"], matrix: Float[np.ndarray, "case axis"], above: Bool[np.ndarray, " case"]
) -> bool:
    """Whether a plane is one of finite numbers, and most cases lie on their side of it."""
    return bool(np.isfinite(slope).all()) and bool(((matrix @ slope > 0) == above).mean() >= 0.9)


def _column(text: str, alphabet: Alphabet, states: CaseStates) -> Float[np.ndarray, " case"]:
    return np.asarray(eval(text, {"__builtins__": {}}, alphabet.constants | states.values), float)


def _kinds(states: CaseStates) -> tuple[np.ndarray, np.ndarray]:
    """The distinct answers, and which each case has."""
    kinds, which = np.unique(states.answer, axis=0, return_inverse=True)
    return kinds, which.ravel()


def _deciding(states: CaseStates, one: Any, two: Any) -> list[np.ndarray]:
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
    return _text(slope, axes) if _tells(slope, x, y > 0) else None


def _text(slope: Float[np.ndarray, " axis"], axes: Sequence[str]) -> str:
    slope = slope / np.abs(slope).max()
    terms = [(value, text) for value, text in zip(slope, axes, strict=True) if abs(value) >= 5e-4]
    first, *rest = (f"{'-' if value < 0 else '+'} {_times(abs(value))}{text}" for value, text in terms)
    return " ".join([first.removeprefix("+ ").replace("- ", "-"), *rest]) + " > 0"


def _times(value: float) -> str:
    return "" if value == 1 else f"{number_text(value)} * "


def _sides(logit: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(logit > 0), np.flatnonzero(logit <= 0)]


def handicaps(
    states: CaseStates, looks: Sequence[Look], alphabet: Alphabet
) -> tuple[dict[str, tuple[float, ...]], tuple[str, ...]]:
    """For each look, how tokens compete where the largest share is not what is said: handicaps, and weights.

    A handicap is added to a token's share, a weight multiplies it. Also a sentence for each that cannot be fitted.
    """
    content = np.array([id for id in range(len(alphabet.texts)) if id not in alphabet.special])
    if states.kind == "set" or not 2 < len(content) <= MOST_HANDICAPS:
        return {}, ()
    found, failed = {}, []
    said = states.logits[:, content].argmax(1)
    for look in looks:
        shares = states.values[look.name].shares[:, content]
        for kind, fitted in _competing(shares, said).items():
            name = f"{kind}_{look.name.upper()}"
            if fitted is None:
                failed.append(f"no {kind.lower()} of {look.name} was tried: its numbers overflow")
                continue
            table = np.full(len(alphabet.texts), -1.0 if kind == "HANDICAP" else 0.0)
            table[content] = fitted
            found[name] = tuple(float(f"{value:.3g}") for value in table)
    return found, tuple(failed)


def _competing(
    shares: Float[np.ndarray, "case token"], said: Int[np.ndarray, " case"]
) -> dict[str, Float[np.ndarray, " token"] | None]:
    """Handicaps, and weights, under which the token of the largest share is most often what is said.

    Multinomial logistic regressions, `sharpness * (share + handicap)` and `sharpness * weight * share`. None where the
    numbers overflow.
    """
    found: dict[str, Float[np.ndarray, " token"] | None] = {}
    for kind, added in (("HANDICAP", True), ("WEIGHT", False)):
        tries = (_fitted(shares, said, added, precision) for precision in (torch.float32, torch.float64))
        found[kind] = next((table for table in tries if table is not None), None)
    return found


def _fitted(
    shares: Float[np.ndarray, "case token"], said: Int[np.ndarray, " case"], added: bool, precision: torch.dtype
) -> Float[np.ndarray, " token"] | None:
    """The regression with what is `added` to shares, or multiplies them; None where it leaves the finite numbers."""
    x, y = torch.from_numpy(shares).to(precision), torch.from_numpy(said)
    sharp = torch.tensor(math.log(SHARP), dtype=precision, requires_grad=True)
    table = torch.zeros(shares.shape[1], dtype=precision, requires_grad=True)
    solver = torch.optim.LBFGS([sharp, table], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        scores = sharp.exp() * (x + table if added else x * (1 + table))
        value = functional.cross_entropy(scores, y) + 1e-4 * (table**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    try:
        solver.step(closure)  # type: ignore[no-untyped-call]
    except (RuntimeError, ArithmeticError) as error:
        if "overflow" in str(error) or isinstance(error, ArithmeticError):
            return None
        raise
    found = table.detach().numpy().astype(float)
    with np.errstate(all="ignore"):
        scaled = np.asarray(found - found.mean() if added else (1 + found) / (1 + found).mean())
    return scaled if np.isfinite(scaled).all() else None

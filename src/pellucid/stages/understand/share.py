"""Shared numbers: tokens of a kind come to have few levels, terms few coefficients, as few as the budget asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from pellucid.base.terminal import tell
from pellucid.stages.understand.prune import held, join_levels, worths
from pellucid.stages.understand.student import Student
from pellucid.stages.understand.ties import SharedNumbers, tie

LEAST = 0.05
"""Numbers are shared where one saved costs less than leaving out one that this share of them is worth less than."""
WIDEST, HALVINGS = 1e6, 40
"""From a bound so many times that to one as much below, the tightest that keeps a budget is found by bisection."""
CHECKS = 3
"""How often it is counted what a program then holds: numbers that nothing reads save nothing."""

Count = Callable[[Student], int]
"""How many numbers the program of a student holds whose numbers are shared."""


def share(
    student: Student, squares: Mapping[str, Tensor], price: Mapping[str, Tensor], count: Count | None
) -> tuple[Student, dict[str, SharedNumbers]]:
    """`student` with levels and shared coefficients, and what is tied; where `count` is given, within the budget.

    `squares` are running means of squared gradients. What may be shared is shared as little as that allows.
    """
    bound, few = least_worth(student, squares, price), levelled(student, squares)
    shared, ties = sharing(few, squares, bound)
    if count is None:
        return shared, ties
    found, budget = count(shared), student.plan.budget
    for _ in range(CHECKS):
        bound = tightest(few, squares, numbers(ties) + budget - found, bound)
        shared, ties = sharing(few, squares, bound)
        found = count(shared)
        if found <= budget:
            break
    else:
        tell(f"  sources hold {found:,} numbers even so, {found - budget:,} more than they should")
    return shared, ties


def tightest(student: Student, squares: Mapping[str, Tensor], most: int, bound: float) -> float:
    """About the tightest bound, near `bound`, by which at most so many numbers are left of those that may be tied."""
    low, high = bound / WIDEST, bound * WIDEST
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if numbers(tie(student, squares, middle)[0]) <= most else (middle, high)
    return high


def spare(student: Student, squares: Mapping[str, Tensor], price: Mapping[str, Tensor], count: Count) -> float:
    """What a student costs by its prices, for each number that its program holds once numbers are shared."""
    shared, _ = sharing(levelled(student, squares), squares, least_worth(student, squares, price))
    return held(student, price) / max(1, count(shared))


def levelled(student: Student, squares: Mapping[str, Tensor]) -> Student:
    """`student` with levels; it stays as it is itself."""
    found = replace(student, tensors=dict(student.tensors), masks=dict(student.masks))
    join_levels(found, squares["kinds"])
    return found


def sharing(student: Student, squares: Mapping[str, Tensor], bound: float) -> tuple[Student, dict[str, SharedNumbers]]:
    """`student` with coefficients tied where a number saved costs less than `bound`; and the ties."""
    ties, tied = tie(student, squares, bound)
    return replace(student, tensors=student.tensors | tied), ties


def least_worth(student: Student, squares: Mapping[str, Tensor], price: Mapping[str, Tensor]) -> float:
    """What the numbers that are worth least are worth: those that would be left out next."""
    found = worths(student, squares, price)
    found = found[found > 0].sort().values
    return float(found[int(LEAST * (len(found) - 1))]) if len(found) else 0.0


def numbers(ties: Mapping[str, SharedNumbers]) -> int:
    """How many numbers there are where some are tied."""
    return sum(found.numbers for found in ties.values())

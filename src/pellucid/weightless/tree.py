"""Decision trees over named features whose leaves are expressions: the smallest that says what the model says.

A tree grows best split first (Breiman et al., 1984, with the Gini index) and is pruned from the leaves on other rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

SMALLEST = 3.0
"""No leaf is split off for fewer (weighted) cases."""
FAR = 100
BETTER = 1.01
"""A later question has to be better than an earlier one by this factor: simple questions come first."""


@dataclass(eq=False)
class DecisionNode:
    """A leaf that gives choice number `leaf`, or a question `feature > threshold` with a node for either case."""

    leaf: int
    feature: int = -1
    threshold: float = 0.0
    above: DecisionNode | None = None
    below: DecisionNode | None = None
    rows: Int[np.ndarray, " case"] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def leaves(self) -> int:
        """How many leaves it has."""
        return 1 if self.above is None or self.below is None else self.above.leaves() + self.below.leaves()


@dataclass(frozen=True, eq=False)
class Cases:
    """What a tree is fitted on: `right` says which choices would be right in each case; `weight` what a case counts."""

    features: Float[np.ndarray, "feature case"]
    right: Bool[np.ndarray, "case choice"]
    weight: Float[np.ndarray, " case"]

    def at(self, cases: Int[np.ndarray, " some"]) -> Cases:
        """Some of them."""
        return Cases(self.features[:, cases], self.right[cases], self.weight[cases])


def grow(cases: Cases, most: int) -> DecisionNode:
    """A tree of at most `most` leaves."""
    kind = primary(cases)
    root = DecisionNode(_best_leaf(cases, np.arange(len(cases.weight))), rows=np.arange(len(cases.weight)))
    open_splits = [(split, root) for split in [_best_split(cases, kind, root.rows)] if split]
    leaves = 1
    while open_splits and leaves < most:
        at = max(range(len(open_splits)), key=lambda i: open_splits[i][0].gain)
        split, node = open_splits.pop(at)
        node.feature, node.threshold = split.feature, split.threshold
        above = cases.features[split.feature, node.rows] > split.threshold
        for name, part in (("above", node.rows[above]), ("below", node.rows[~above])):
            child = DecisionNode(_best_leaf(cases, part), rows=part)
            setattr(node, name, child)
            if found := _best_split(cases, kind, part):
                open_splits.append((found, child))
        leaves += 1
    return root


def primary(cases: Cases) -> Int[np.ndarray, " case"]:
    """One right choice a case: that of the choice which is right most often among those left, and so on."""
    kind = np.full(len(cases.weight), -1)
    while (kind < 0).any():
        left = cases.weight * (kind < 0)
        covered = left @ cases.right
        if covered.max() <= 0:
            break
        best = int(covered.argmax())
        kind[(kind < 0) & cases.right[:, best]] = best
    return kind


@dataclass(frozen=True)
class _Split:
    gain: float
    feature: int
    threshold: float


def _best_leaf(cases: Cases, rows: np.ndarray) -> int:
    return int((cases.weight[rows] @ cases.right[rows]).argmax()) if len(rows) else 0


def _best_split(cases: Cases, kind: np.ndarray, rows: np.ndarray) -> _Split | None:
    """The question that makes `rows` purest, or None where they are pure or nothing tells them apart."""
    leaf = _best_leaf(cases, rows)
    if cases.weight[rows] @ ~cases.right[rows, leaf] < SMALLEST:
        return None
    present = np.unique(kind[rows])
    one_hot = (kind[rows][:, None] == present[None]) * cases.weight[rows][:, None]
    total = one_hot.sum(0)
    before = total.sum() - (total**2).sum() / total.sum()
    best: _Split | None = None
    for feature in range(len(cases.features)):
        values = cases.features[feature, rows]
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        cut = np.flatnonzero(ordered[1:] > ordered[:-1])
        if not len(cut):
            continue
        left = np.cumsum(one_hot[order], 0)[cut]
        right = total - left
        n_left, n_right = left.sum(1), right.sum(1)
        after = n_left - (left**2).sum(1) / n_left + n_right - (right**2).sum(1) / n_right
        after[(n_left < SMALLEST) | (n_right < SMALLEST)] = np.inf
        at = int(after.argmin())
        gain = before - after[at]
        if gain > 1e-9 and (best is None or gain > best.gain * BETTER):
            best = _Split(float(gain), feature, between(ordered[cut[at]], ordered[cut[at] + 1]))
    return best


def between(low: float, high: float) -> float:
    """The number of fewest digits in the middle half of the gap from `low` to `high`.

    Where `low` is next to nothing beside `high` the gap is measured in factors: a tenth of `high` is as far from it.
    """
    if 0 <= low < high / FAR:
        middle = high / math.sqrt(FAR)
        room = middle / 4
    else:
        middle, room = (float(low) + float(high)) / 2, (float(high) - float(low)) / 4
    for digits in range(17):
        scale = 10.0 ** (digits - (math.floor(math.log10(abs(middle))) + 1 if middle and abs(middle) > 1 else 0))
        rounded = round(middle * scale) / scale
        if abs(rounded - middle) <= room:
            return float(repr(rounded))
    return middle


def choose(node: DecisionNode, features: Float[np.ndarray, "feature case"]) -> Int[np.ndarray, " case"]:
    """The choice that the tree makes in each case."""
    found = np.full(features.shape[1], node.leaf)
    if node.above is not None and node.below is not None:
        above = features[node.feature] > node.threshold
        found[above] = choose(node.above, features[:, above])
        found[~above] = choose(node.below, features[:, ~above])
    return found


def prune(node: DecisionNode, cases: Cases, price: float) -> DecisionNode:
    """Without the questions that save, on `cases`, less than `price` weighted errors each."""
    pruned, _, _ = _pruned(node, cases, np.arange(len(cases.weight)), price)
    return pruned


def _pruned(node: DecisionNode, cases: Cases, rows: np.ndarray, price: float) -> tuple[DecisionNode, float, int]:
    errors = float(cases.weight[rows] @ ~cases.right[rows, node.leaf])
    if node.above is None or node.below is None:
        return DecisionNode(node.leaf), errors, 1
    asked = cases.features[node.feature, rows] > node.threshold
    above, wrong_above, leaves_above = _pruned(node.above, cases, rows[asked], price)
    below, wrong_below, leaves_below = _pruned(node.below, cases, rows[~asked], price)
    kept, leaves = wrong_above + wrong_below, leaves_above + leaves_below
    same = leaves == 2 and above.leaf == below.leaf
    if same or errors <= kept + price * (leaves - 1):
        return DecisionNode(node.leaf), errors, 1
    return DecisionNode(node.leaf, node.feature, node.threshold, above, below), kept, leaves


def used(node: DecisionNode) -> Sequence[int]:
    """The features that the tree asks about, in order of first question."""
    if node.above is None or node.below is None:
        return []
    return list(dict.fromkeys([node.feature, *used(node.above), *used(node.below)]))


def leaves_of(node: DecisionNode) -> list[int]:
    """The choices that the tree can make, each once."""
    if node.above is None or node.below is None:
        return [node.leaf]
    return list(dict.fromkeys([*leaves_of(node.above), *leaves_of(node.below)]))

"""Decision trees over named features whose leaves are expressions: the smallest that says what the model says.

A tree grows best split first (Breiman et al., 1984, with the Gini index) and is pruned from the leaves on other rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from pellucid.weightless.meter import spend

SMALLEST = 3.0
"""No leaf is split off for fewer (weighted) cases."""
FAR = 100
FEW = 48
"""Features of no more values than this are cut everywhere at once."""
SORTED = 20
"""What sorting a number costs, in evaluations."""
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


def distinct(cases: Cases) -> Cases:
    """Each case once, with the weight of all that are like it; as it is where few are alike."""
    marks = np.concatenate([np.ascontiguousarray(cases.features.T).view(np.uint8), cases.right.view(np.uint8)], 1)
    rows = np.ascontiguousarray(marks).view([("", f"V{marks.shape[1]}")]).ravel()
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    if len(first) > len(rows) / 2:
        return cases
    order = np.argsort(first)
    weight = np.bincount(which.ravel(), cases.weight)[order]
    return Cases(cases.features[:, first[order]], cases.right[first[order]], weight)


def grow(cases: Cases, most: int) -> DecisionNode:
    """A tree of at most `most` leaves."""
    kind, cuts = primary(cases), Cuts.of(cases)
    root = DecisionNode(_best_leaf(cases, np.arange(len(cases.weight))), rows=np.arange(len(cases.weight)))
    open_splits = [(split, root) for split in [_best_split(cases, cuts, kind, root.rows)] if split]
    leaves = 1
    while open_splits and leaves < most:
        at = max(range(len(open_splits)), key=lambda i: open_splits[i][0].gain)
        split, node = open_splits.pop(at)
        node.feature, node.threshold = split.feature, split.threshold
        above = cases.features[split.feature, node.rows] > split.threshold
        for name, part in (("above", node.rows[above]), ("below", node.rows[~above])):
            child = DecisionNode(_best_leaf(cases, part), rows=part)
            setattr(node, name, child)
            if found := _best_split(cases, cuts, kind, part):
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


@dataclass(frozen=True, eq=False)
class Cuts:
    """The ways to cut features of few values in two, all at once: `above` says which cases lie above which cut.

    `feature` numbers the feature of each cut; the features that have too many values are `others`.
    """

    feature: Int[np.ndarray, " cut"]
    above: Float32[np.ndarray, "cut case"]
    others: Int[np.ndarray, " some"]

    @staticmethod
    def of(cases: Cases) -> Cuts:
        """All cuts of the features of `cases` that have few values."""
        feature: list[int] = []
        above: list[np.ndarray] = []
        others: list[int] = []
        for number, values in enumerate(cases.features):
            distinct = np.unique(values)
            if len(distinct) > FEW:
                others.append(number)
                continue
            feature += [number] * (len(distinct) - 1)
            above += [values > low for low in distinct[:-1]]
        matrix = np.array(above, np.float32).reshape(len(above), len(cases.weight))
        return Cuts(np.array(feature, np.int64), matrix, np.array(others, np.int64))

    def gains(self, cases: Cases, one_hot: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, " feature"]:
        """How much purer the best cut of each feature makes `rows`; minus infinity where none does."""
        found = np.full(len(cases.features), -np.inf)
        if len(self.feature):
            spend(len(self.feature) * one_hot.size)
            right = self.above[:, rows] @ one_hot
            np.maximum.at(found, self.feature, _gain(one_hot.sum(0) - right, right))
        spend(SORTED * len(self.others) * len(rows))
        for feature in self.others:
            gain, _ = _cut(cases.features[feature, rows], one_hot)
            found[feature] = gain.max(initial=-np.inf)
        return found


def _gain(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How much purer either side is than both together, by the Gini index; minus infinity where one is too small."""
    n_left, n_right, total = left.sum(1), right.sum(1), left + right
    before = total.sum(1) - (total**2).sum(1) / total.sum(1)
    with np.errstate(all="ignore"):
        after = n_left - (left**2).sum(1) / n_left + n_right - (right**2).sum(1) / n_right
    return np.where((n_left < SMALLEST) | (n_right < SMALLEST), -np.inf, before - after)


def _cut(values: np.ndarray, one_hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gain of every cut of a feature's `values`, and the values on either side of it [cut 2]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    cut = np.flatnonzero(ordered[1:] > ordered[:-1])
    left = np.cumsum(one_hot[order], 0)[cut]
    return _gain(left, one_hot.sum(0) - left), np.stack([ordered[cut], ordered[cut + 1]], 1)


def _best_split(cases: Cases, cuts: Cuts, kind: np.ndarray, rows: np.ndarray) -> _Split | None:
    """The question that makes `rows` purest, or None where they are pure or nothing tells them apart."""
    leaf = _best_leaf(cases, rows)
    if cases.weight[rows] @ ~cases.right[rows, leaf] < SMALLEST:
        return None
    present = np.unique(kind[rows])
    one_hot = (kind[rows][:, None] == present[None]) * cases.weight[rows][:, None]
    best, gains = -1, cuts.gains(cases, one_hot, rows)
    for feature in np.flatnonzero(gains > 1e-9):
        if best < 0 or gains[feature] > gains[best] * BETTER:
            best = int(feature)
    if best < 0:
        return None
    gain, sides = _cut(cases.features[best, rows], one_hot)
    return _Split(float(gains[best]), best, between(*sides[int(gain.argmax())].tolist()))


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

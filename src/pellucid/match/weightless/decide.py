"""From cases to the answer: the smallest tree of questions that says what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.match.weightless import questions, tree
from pellucid.match.weightless.boundaries import planes
from pellucid.match.weightless.cases import States
from pellucid.match.weightless.comparisons import SMALL
from pellucid.match.weightless.language import Alphabet, Look, Program
from pellucid.match.weightless.task import Answer

LEAVES = 40
PRICES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Weighted errors that a question has to save; the highest price that still agrees on tune rows wins."""
SLACK = 0.0005


@dataclass(frozen=True, eq=False)
class Weighted:
    """Cases and what each counts."""

    states: States
    weight: np.ndarray


def decide(
    fit: Weighted, tune: Weighted, looks: Sequence[Look], alphabet: Alphabet, kind: Answer, positions: bool
) -> tuple[Program, float]:
    """The smallest program that agrees about best with the model on `tune` cases, and on what share of them."""
    present = sorted({int(id) for id in np.unique(fit.states.values["token"])})
    linear = planes(fit.states, looks, alphabet, present) if len(present) <= SMALL and looks else []
    texts = questions.questions(alphabet, present, looks, positions, linear)
    answers, constants = questions.choices(alphabet, kind, fit.states.answer, looks)
    fitting, tuning = (_cases(part, texts, answers, constants, alphabet, kind) for part in (fit, tune))
    varied = np.flatnonzero(fitting.features.std(1) > 0)
    grown = tree.grow(tree.Cases(fitting.features[varied], fitting.right, fitting.weight), LEAVES)
    smaller = tree.Cases(tuning.features[varied], tuning.right, tuning.weight)
    own = tree.Cases(fitting.features[varied], fitting.right, fitting.weight)
    tries = [tree.prune(grown, own, price) for price in PRICES]
    scores = [agreement(candidate, smaller) for candidate in tries]
    best = max(at for at, score in enumerate(scores) if score >= max(scores) - SLACK)
    used = tree.used(tries[best])
    node = _renumbered(tries[best], {feature: at for at, feature in enumerate(used)})
    asked = tuple(texts[varied[at]] for at in used)
    return Program(alphabet, kind, tuple(looks), asked, tuple(answers), node), scores[best]


def agreement(node: tree.Node, cases: tree.Cases) -> float:
    """The weighted share of cases that a tree gets right."""
    said = tree.choose(node, cases.features)
    return float(np.average(cases.right[np.arange(len(said)), said], weights=cases.weight))


def _cases(
    part: Weighted,
    texts: Sequence[str],
    answers: Sequence[str],
    constants: Sequence[np.ndarray | int | None],
    alphabet: Alphabet,
    kind: Answer,
) -> tree.Cases:
    features = questions.evaluate(texts, alphabet, part.states.values)
    right = questions.right(answers, constants, kind, alphabet, part.states.values, part.states.answer)
    return tree.Cases(features, right, part.weight)


def _renumbered(node: tree.Node, names: dict[int, int]) -> tree.Node:
    if node.above is None or node.below is None:
        return tree.Node(node.leaf)
    above, below = _renumbered(node.above, names), _renumbered(node.below, names)
    return tree.Node(node.leaf, names[node.feature], node.threshold, above, below)

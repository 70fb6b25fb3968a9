"""From cases to the answer: the smallest tree of questions that says what the model says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from pellucid.weightless import questions, tree
from pellucid.weightless.boundaries import HARD, SOFT, handicaps, planes
from pellucid.weightless.cases import CaseStates
from pellucid.weightless.comparisons import SMALL
from pellucid.weightless.language import Alphabet, Look, WeightlessProgram
from pellucid.weightless.task import Judged

LEAVES = 80
FEWEST = 200
"""Fewer longer rows say nothing: one of them would decide."""
LEAST = 0.01
"""If fewer interventions on a value matter, it cannot be verified, and the program should not have it."""
PRICES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Weighted errors that a question has to save; the highest price that still agrees on tune rows wins."""
SLACK = 0.0002
ENOUGH, NEAR = 0.99, 0.003
"""On probes and under interventions a tree is good enough if it agrees so often, or nearly as often as any other."""
FINE = 0.2
"""What missing that costs."""
MANY = 100
"""What an answer of a row costs that is missed: rows have many, and all have to be right."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """Cases and what each counts; `kind` is row, longer (row), probe, mixture, or the value that is from elsewhere."""

    states: CaseStates
    weight: np.ndarray
    kind: np.ndarray

    @property
    def values(self) -> list[str]:
        """The values that were taken from elsewhere."""
        return sorted(set(self.kind.tolist()) - {"row", "longer", "probe", "mixture"})


@dataclass(frozen=True)
class DecisionScore:
    """Agreement on rows, longer rows, probes, and, for the value where it is least, under interventions that matter."""

    rows: float
    longer: float
    probes: float
    moved: float

    @property
    def total(self) -> float:
        """One number to compare candidates by."""
        short = sum(max(0.0, ENOUGH - share) for share in (self.probes, self.moved))
        return 1 - MANY * (1 - self.rows) - FINE * (1 - self.longer + short)


def acceptable(scores: Sequence[DecisionScore]) -> list[int]:
    """Which of `scores` are about as good as the best: on rows first, longer rows, probes, then under interventions."""
    near = list(range(len(scores)))
    for name, slack, enough in (("rows", SLACK, 1.0), ("longer", 5 * SLACK, 1.0), ("probes", NEAR, ENOUGH),
                                ("moved", NEAR, ENOUGH)):  # fmt: skip
        least = min(enough, max(getattr(scores[at], name) for at in near) - slack)
        near = [at for at in near if getattr(scores[at], name) >= least]
    return near


def decide(
    fit: Weighted, tune: Weighted, looks: Sequence[Look], alphabet: Alphabet, kind: Judged, positions: bool
) -> tuple[WeightlessProgram, float]:
    """The smallest program that agrees about best with the model on `tune` cases, and on what share of them."""
    present = _present(fit.states, looks)
    linear = _planes(fit, looks, alphabet, present) if len(present) <= SMALL and looks else []
    texts = questions.questions(alphabet, present, looks, positions, linear)
    tables, cautions = handicaps(fit.states.at(np.flatnonzero(fit.kind != "mixture")), looks, alphabet)
    answers, constants = questions.choices(alphabet, kind, fit.states.answer, looks, tables)
    fitting, tuning = (_cases(part, texts, answers, constants, alphabet, tables) for part in (fit, tune))
    varied = np.flatnonzero(fitting.features.std(1) > 0)
    lived = fitting.at(np.flatnonzero(np.isin(fit.kind, ("row", "probe"))))
    plain = fitting.at(np.flatnonzero(fit.kind != "mixture"))
    tries = [
        _smallest(part, tuning, tune, allowed, texts)
        for allowed in _families(texts, varied)
        for part in (lived, plain, fitting)
        if len(allowed)
    ]
    tries = tries or [(tree.DecisionNode(0), _score(tree.DecisionNode(0), tuning, tune, texts))]
    node, score = tries[acceptable([score for _, score in tries])[0]]
    used = tree.used(node)
    asked, node = tuple(texts[at] for at in used), _renumbered(node, {feature: at for at, feature in enumerate(used)})
    said = " ".join(answers[leaf] for leaf in tree.leaves_of(node))
    kept = {name: table for name, table in tables.items() if f"({name})" in said}
    shown = tuple(_with_numbers(look, asked) for look in looks)
    return WeightlessProgram(alphabet, kind, shown, asked, tuple(answers), node, kept, cautions=cautions), score.total


def _families(texts: Sequence[str], varied: Int[np.ndarray, " some"]) -> list[np.ndarray]:
    """Sets of questions that a tree may ask, by number: what holds in rows of all lengths first, then all."""
    seen = [at for at in varied if not re.search(r"\b(token|position)\b", texts[at])]
    alike = [at for at in varied if questions.scale_free(texts[at])]
    return [np.array(some, np.int64) for some in ([at for at in alike if at in seen], alike, seen, varied)]


def _planes(fit: Weighted, looks: Sequence[Look], alphabet: Alphabet, present: Sequence[int]) -> list[str]:
    """Planes where answers change: among places as they are seen (where boundaries bend, these count), and anywhere."""
    found: list[str] = []
    for some, margins in ((np.isin(fit.kind, ("row", "longer")), (SOFT, HARD)), (fit.kind != "mixture", (SOFT,))):
        found += planes(fit.states.at(np.flatnonzero(some)), looks, alphabet, present, margins)
    found += planes(fit.states, looks, alphabet, present, ())
    return list(dict.fromkeys(found))


def _with_numbers(look: Look, asked: Sequence[str]) -> Look:
    """`look` with the averages that somebody asks about."""
    wanted = [f'{look.name}.mean("{name}")' for name, _ in look.numbers]
    kept = [number for number, text in zip(look.numbers, wanted, strict=True) if any(text in a for a in asked)]
    return replace(look, numbers=tuple(kept))


def _smallest(
    fitting: tree.Cases, tuning: tree.Cases, tune: Weighted, allowed: np.ndarray, texts: Sequence[str]
) -> tuple[tree.DecisionNode, DecisionScore]:
    """The smallest tree of questions `allowed` that agrees about best on tune cases, and how well it agrees."""
    own = tree.Cases(fitting.features[allowed], fitting.right, fitting.weight)
    other = tree.Cases(tuning.features[allowed], tuning.right, tuning.weight)
    grown = tree.grow(own, LEAVES)
    tries = [tree.prune(grown, own, price) for price in PRICES]
    scores = [_score(candidate, other, tune, [texts[at] for at in allowed]) for candidate in tries]
    best = acceptable(scores)[-1]
    names = {at: int(feature) for at, feature in enumerate(allowed)}
    return _renumbered(tries[best], names), scores[best]


def _present(states: CaseStates, looks: Sequence[Look]) -> list[int]:
    """The tokens that stand at places or are seen by looks."""
    seen = {int(id) for look in looks for id in np.flatnonzero(states.values[look.name].shares.max(0) > 0)}
    return sorted(seen | {int(id) for id in np.unique(states.values["token"])})


def _score(node: tree.DecisionNode, cases: tree.Cases, tune: Weighted, texts: Sequence[str]) -> DecisionScore:
    """How often a tree is right. Of interventions those count that change what the model says or the tree gets wrong.

    Inputs that it does not ask about need not be right: they are no values of the program.
    """
    right = cases.right[np.arange(len(tune.kind)), tree.choose(node, cases.features)]
    asked = " ".join(texts[at] for at in tree.used(node))
    values = [v for v in tune.values if v not in ("token", "position") or re.search(rf"\b{v}\b", asked)]
    moved = tune.states.moved if tune.states.moved is not None else np.zeros(len(right), bool)
    clear = tune.states.clear
    shares = []
    for value in values:
        mine = (tune.kind == value) & clear
        effective = mine & (moved | ~right)
        shares.append(float(right[effective].mean()) if effective.sum() >= LEAST * mine.sum() else 0.0)
    rows, longer, probes = (
        float(np.average(right[tune.kind == kind], weights=cases.weight[tune.kind == kind]))
        if (tune.kind == kind).sum() >= (FEWEST if kind == "longer" else 1)
        else 1.0
        for kind in ("row", "longer", "probe")
    )
    return DecisionScore(rows, longer, probes, min(shares, default=1.0))


def _cases(
    part: Weighted,
    texts: Sequence[str],
    answers: Sequence[str],
    constants: Sequence[np.ndarray | int | None],
    alphabet: Alphabet,
    tables: dict[str, tuple[float, ...]],
) -> tree.Cases:
    kind = part.states.kind
    features = questions.evaluate(texts, alphabet, part.states.values)
    right = questions.right(answers, constants, kind, alphabet, part.states.values, part.states.answer, tables)
    return tree.Cases(features, right, part.weight)


def _renumbered(node: tree.DecisionNode, names: dict[int, int]) -> tree.DecisionNode:
    if node.above is None or node.below is None:
        return tree.DecisionNode(node.leaf)
    above, below = _renumbered(node.above, names), _renumbered(node.below, names)
    return tree.DecisionNode(node.leaf, names[node.feature], node.threshold, above, below)

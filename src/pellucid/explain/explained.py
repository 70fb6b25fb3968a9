"""Explanations of parts by rules, each with its scores, those of a token table, and those of another part's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.explain.activity import Activity, Unit, activity, gauged
from pellucid.explain.conditions import RARE, Rule, find_rule
from pellucid.explain.items import Item, items_of
from pellucid.explain.scores import Fuzz, Values, fuzzes, scored, threshold
from pellucid.forms.forms import token_texts

Scores = dict[str, float | None]


@dataclass(frozen=True)
class TokenTable:
    """The least that an explanation has to beat: what a part does on average on every token."""

    means: Float[np.ndarray, " token"]

    @classmethod
    def of(cls, ids: Int[np.ndarray, "row pos"], values: Values, vocabulary: int) -> TokenTable:
        """The table of a part from what it does on rows; a rare token's mean is drawn to the common one."""
        counts = np.bincount(ids.ravel(), minlength=vocabulary)
        sums = np.bincount(ids.ravel(), values.ravel(), vocabulary)
        return cls((sums + RARE * values.mean()) / (counts + RARE))

    def predict(self, ids: Int[np.ndarray, "row pos"]) -> Values:
        """What the part does at every place."""
        found: Values = self.means[ids]
        return found


@dataclass(frozen=True)
class ByRule:
    """A part: what was found of it, how good that is on held-out text, and what it is to be held against.

    `shuffled` are the scores of the rule of another part of the same kind, `tokens` those of a token table.
    """

    unit: Unit
    text: str
    rule: Rule
    items: tuple[Item, ...]
    fuzzes: tuple[Fuzz, ...]
    scores: Scores
    tokens: Scores
    shuffled: Scores


@dataclass(frozen=True)
class _Found:
    """A rule with what it says on both texts."""

    rule: Rule
    edge: float
    fit: Values
    heldout: Float[np.ndarray, "other pos"]


def explained(
    model: Model, units: Sequence[Unit], fit: Int[Tensor, "row pos"], heldout: Int[Tensor, "other pos"], seed: int = 0
) -> list[ByRule]:
    """Every unit's rule, found on `fit` and scored on `heldout` rows."""
    gauge, there = gauged(model, units, fit)
    here = activity(model, gauge, units, heldout)
    texts = token_texts(model.tokenizer)
    found = [_found(there, here, unit) for unit in track(list(units), "explaining")]
    other = shuffled(units, seed)
    results = []
    for number, unit in enumerate(units):
        own, values = found[number], here.of(unit).numpy()
        items = items_of(heldout, here.of(unit), seed + number)
        asked = fuzzes(items, seed + number)
        table = TokenTable.of(fit.numpy(), there.of(unit).numpy(), model.n_vocab)
        edge = threshold(table.predict(fit.numpy()), there.of(unit).numpy())
        swapped = found[other[number]]
        edge_of_other = threshold(swapped.fit, there.of(unit).numpy())
        results.append(
            ByRule(
                unit,
                own.rule.words(lambda token: str(texts(token))),
                own.rule,
                tuple(items),
                tuple(asked),
                scored(own.heldout, values, items, asked, own.edge),
                scored(table.predict(heldout.numpy()), values, items, asked, edge),
                scored(swapped.heldout, values, items, asked, edge_of_other),
            )
        )
    return results


def _found(there: Activity, here: Activity, unit: Unit) -> _Found:
    values = there.of(unit).numpy()
    rule = find_rule(there.ids.numpy(), values)
    fit = rule.predict(there.ids.numpy())
    return _Found(rule, threshold(fit, values), fit, rule.predict(here.ids.numpy()))


def shuffled(units: Sequence[Unit], seed: int) -> list[int]:
    """For each unit the number of another of its kind, drawn by `seed`; its own where there is no other."""
    generator = np.random.default_rng(seed)
    found = list(range(len(units)))
    for kind in {unit.kind for unit in units}:
        own = [number for number, unit in enumerate(units) if unit.kind == kind]
        order = generator.permutation(own).tolist()
        for at, number in enumerate(order):
            found[number] = order[(at + 1) % len(order)]
    return found

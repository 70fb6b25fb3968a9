"""Fitting looks: what the heads of a layer see, as shares by few named comparisons; later looks see earlier ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.weightless import attend, comparisons
from pellucid.weightless.language import Alphabet, Look, Term
from pellucid.weightless.prelude import Seen
from pellucid.weightless.runner import see
from pellucid.weightless.task import Judged
from pellucid.weightless.teacher import Read, answers, logits, record, same

QUERIES = 900
IMPORTANT_ROWS, ROUNDS, LARGE = 150, 6, 30
DIGITS = 4

Group = tuple[int, tuple[int, ...]]
"""A layer and some of its heads that are one look together."""


@dataclass
class Sight:
    """Rows with the values that have been found for them so far: `rows[i]` maps names to arrays over places.

    `instead` are activations that the model is given in place of its own; the values of the rows are those that then
    hold.
    """

    read: Read
    rows: list[dict[str, Any]] = field(repr=False)
    instead: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(read: Read, alphabet: Alphabet) -> Sight:
        """The rows of `read` with their tokens, positions and numbers, cut at their last scored place."""
        rows = []
        for ids, inside in zip(read.ids, read.inside, strict=True):
            token = ids[: int(inside.sum())]
            rows.append({"token": token, "position": np.arange(len(token)), "number": alphabet.number[token]})
        return Sight(read, rows)

    def add(self, look: Look, alphabet: Alphabet) -> None:
        """Let every row have what `look` sees."""
        for values, seen in zip(self.rows, see(look, alphabet, self.rows), strict=True):
            values[look.name] = seen

    def record(self, model: Model, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Activations of the model by name."""
        return record(model, self.read.ids, names, self.instead)

    def disturb(self, model: Model, looks: Sequence[Look], layer: int, seed: int) -> None:
        """Give some places of every row what the looks of `layer` saw at other places, in the model and here."""
        draw = np.random.default_rng(seed)
        inside = np.argwhere(self.read.inside)
        share = draw.choice([0.02, 0.1, 0.3], len(self.rows))
        places = inside[draw.random(len(inside)) < share[inside[:, 0]]]
        sources = inside[draw.integers(len(inside), size=len(places))]
        mine = [look for look in looks if look.layer == layer]
        name = f"L{layer:02d}.z"
        z = torch.from_numpy(self.record(model, [name])[name])
        changed = z.clone()
        for head in sorted({head for look in mine for head in look.heads}):
            changed[places[:, 0], places[:, 1], head] = z[sources[:, 0], sources[:, 1], head]
        self.instead[name] = changed
        before = {look.name: [values[look.name] for values in self.rows] for look in mine}
        for look in mine:
            for values in self.rows:
                values[look.name] = copy.deepcopy(values[look.name])
        for (row, place), (source, at) in zip(places, sources, strict=True):
            for look in mine:
                put(self.rows[row][look.name], int(place), before[look.name][source][int(at)])


def put(seen: Seen, place: int, other: Seen) -> None:
    """Let `seen` be `other` at a place."""
    seen.shares[place] = other.shares
    for name, value in other.means.items():
        seen.means[name][place] = value


@dataclass(frozen=True)
class LookLimits:
    """How closely looks are fitted: until `enough` nats are left, with at most `most` comparisons.

    A `sharp` look is fitted to the pattern to that power: what is looked at most matters, not by how much.
    """

    enough: float
    most: int
    sharp: float = 1.0


def fit_look(
    name: str, group: Group, sights: Sequence[tuple[Sight, np.ndarray]], alphabet: Alphabet, looks: Sequence[Look],
    last: bool, effort: LookLimits, positions: bool, matter: np.ndarray, seed: int = 0,
) -> Look:  # fmt: skip
    """The look of the fewest comparisons for a group of heads, on rows with the group's pattern [batch query key].

    In the last layer only the queries whose answer counts are fitted; a query at token `t` counts `matter[t]`.
    """
    draw = np.random.default_rng(seed)
    drawn = [_pairs(sight, pattern**effort.sharp, looks, last, matter, draw) for sight, pattern in sights]
    queries = np.cumsum([0, *(len(pairs.weight) for pairs, _, _ in drawn)])
    pairs = attend.AttendedPairs(
        np.concatenate([pairs.pattern for pairs, _, _ in drawn]),
        np.concatenate([pairs.query + start for (pairs, _, _), start in zip(drawn, queries[:-1], strict=True)]),
        np.concatenate([pairs.weight for pairs, _, _ in drawn]),
    )
    present = sorted({int(id) for sight, _ in sights for values in sight.rows for id in np.unique(values["token"])})
    texts = comparisons.proposals(alphabet, present, looks, positions)
    features = np.concatenate([comparisons.evaluate(texts, alphabet, *sides) for _, *sides in drawn], 1)
    varied = np.flatnonzero(features.std(1) > 0)
    fits = attend.path(pairs, features[varied], effort.most, effort.enough)
    best = attend.refit(pairs, features[varied], fits[-1])
    terms = tuple(Term(texts[varied[feature]], float(f"{weight:.{DIGITS}g}")) for feature, weight in best.terms)
    return Look(
        name, group[0], group[1], terms, _numbers(alphabet, present, looks), best.divergence, fits[0].divergence
    )


def _pairs(
    sight: Sight, pattern: np.ndarray, looks: Sequence[Look], last: bool, matter: np.ndarray, draw: np.random.Generator
) -> tuple[attend.AttendedPairs, comparisons.SideValues, comparisons.SideValues]:
    """Some queries of `sight` with all their keys, and the values on either side."""
    places = np.argwhere(sight.read.scored if last else sight.read.inside)
    rarity = 1 / np.bincount(places[:, 0])[places[:, 0]]  # rows count alike, however long they are
    places = places[draw.choice(len(places), min(QUERIES, len(places)), replace=False, p=rarity / rarity.sum())]
    sizes = places[:, 1] + 1
    row = np.repeat(places[:, 0], sizes)
    query, at = np.repeat(places[:, 1], sizes), np.repeat(np.arange(len(places)), sizes)
    key = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    weight = matter[sight.read.ids[places[:, 0], places[:, 1]]]
    shares = pattern[row, query, key].astype(float)
    shares /= np.bincount(at, shares)[at]
    pairs = attend.AttendedPairs(shares, at, weight)
    return pairs, _side(sight, row, query, looks), _side(sight, row, key, looks)


def importance(model: Model, sight: Sight, group: Group, kind: Judged, vocabulary: int) -> Float[np.ndarray, " vocab"]:
    """How much what a group of heads gives at each token matters: at most 1, never 0, and 1 in large vocabularies.

    At one place a row it is taken from elsewhere; what counts is how often that changes an answer behind it.
    """
    if vocabulary > LARGE:
        return np.ones(vocabulary)
    layer, heads = group
    draw = np.random.default_rng(layer)
    size = min(len(sight.rows), IMPORTANT_ROWS)
    ids, inside = sight.read.ids[:size], sight.read.inside[:size]
    name = f"L{layer:02d}.z"
    z = record(model, ids, [name])[name]
    changed, tried = np.zeros(vocabulary), np.zeros(vocabulary)
    rows = np.arange(size)
    for _ in range(ROUNDS):
        places = (draw.random(inside.shape) * inside).argmax(1)
        sources, order = (draw.random(inside.shape) * inside).argmax(1), draw.permutation(size)
        other = z.copy()
        for head in heads:
            other[rows, places, head] = z[order, sources[order], head]
        said = answers(logits(model, ids, {name: torch.from_numpy(other)}), kind)
        moved = (~same(said, sight.read.answer[:size], kind) & sight.read.scored[:size]).any(1)
        np.add.at(changed, ids[rows, places], moved)
        np.add.at(tried, ids[rows, places], 1)
    matter = (changed + 0.1) / (tried + 1)
    return np.asarray(np.maximum(matter, 0.03 * matter.max()) / matter.max())


def _numbers(alphabet: Alphabet, present: Sequence[int], looks: Sequence[Look]) -> tuple[tuple[str, str], ...]:
    """The numbers that a look may average: larger tokens, how far back it looks, and what earlier looks saw there."""
    content = [id for id in present if id not in alphabet.special]
    small = content if len(present) <= comparisons.SMALL else []
    named = [(f"{look.name}_{alphabet.names[id]}", f"key.{look.name}.share({alphabet.names[id]})")
             for look in looks for id in small]  # fmt: skip
    larger = [("larger", "key.number > query.number")] if alphabet.numeric else []
    return (*larger, ("back", "distance"), *named) if looks else tuple(larger)


def _side(sight: Sight, row: np.ndarray, place: np.ndarray, looks: Sequence[Look]) -> comparisons.SideValues:
    """The values at `place` of `row`, pair by pair."""
    length = max(len(values["token"]) for values in sight.rows)

    def gathered(pick: Any) -> np.ndarray:
        first = np.asarray(pick(sight.rows[0]))
        table = np.zeros((len(sight.rows), length, *first.shape[1:]), first.dtype)
        for number, values in enumerate(sight.rows):
            table[number, : len(values["token"])] = pick(values)
        return np.asarray(table[row, place])

    seen = {}
    for look in looks:
        shares = gathered(lambda values, look=look: values[look.name].shares.astype(np.float32))
        seen[look.name] = Seen(shares)
    token, number = gathered(lambda values: values["token"]), gathered(lambda values: values["number"])
    return comparisons.SideValues(token, place, number, seen)


def pattern_of(patterns: dict[str, np.ndarray], group: Group) -> np.ndarray:
    """The mean pattern [batch query key] of a group of heads."""
    layer, heads = group
    return np.asarray(patterns[f"L{layer:02d}.pattern"][:, list(heads)].mean(1))

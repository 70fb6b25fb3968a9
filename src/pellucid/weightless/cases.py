"""Cases to fit an answer on: rows, probes, and states that the model is put into by interchange.

An interchanged case takes what the looks of a layer saw from another place of another row, in the program, and the
outputs of the heads they stand for from there, in the model: what the model then says is what the program should say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int

from pellucid.exact.model import Model
from pellucid.weightless.language import Look
from pellucid.weightless.looks import Sight
from pellucid.weightless.prelude import Seen
from pellucid.weightless.task import Judged
from pellucid.weightless.teacher import answers, clear, logits, same

BISECTIONS = 9
MOST = 5000
RESETS = 16
FURTHER = 0.75
"""Rows are thought on until shares are a quarter of what they are."""


@dataclass(frozen=True, eq=False)
class CaseStates:
    """Places with the values that hold there, and the model's logits."""

    values: dict[str, Any]
    logits: Float32[np.ndarray, "case vocab"]
    kind: Judged
    moved: Bool[np.ndarray, " case"] | None = None
    """Where an intervention changed what the model says: these are few, and count more."""

    @property
    def answer(self) -> np.ndarray:
        """What the model says."""
        return answers(self.logits, self.kind)

    @property
    def clear(self) -> Bool[np.ndarray, " case"]:
        """Where it says so clearly."""
        return clear(self.logits, self.kind)

    def __len__(self) -> int:
        return len(self.logits)

    def at(self, cases: Int[np.ndarray, " case"]) -> CaseStates:
        """Some of them."""
        return CaseStates({name: value[cases] for name, value in self.values.items()}, self.logits[cases], self.kind)


def joined(parts: Sequence[CaseStates]) -> CaseStates:
    """All cases of `parts` in order."""
    first = parts[0]
    values = {name: _joined([part.values[name] for part in parts]) for name in first.values}
    moved = [np.zeros(len(part), bool) if part.moved is None else part.moved for part in parts]
    return CaseStates(values, np.concatenate([part.logits for part in parts]), first.kind, np.concatenate(moved))


def _joined(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Seen):
        means = {name: np.concatenate([v.means[name] for v in values]) for name in values[0].means}
        return Seen(np.concatenate([v.shares for v in values]), means)
    return np.concatenate(values)


def gather(sight: Sight, looks: Sequence[Look], places: Int[np.ndarray, "case two"]) -> dict[str, Any]:
    """The values at `places` (row, place)."""
    order = np.lexsort((places[:, 1], places[:, 0]))
    values: dict[str, list[Any]] = {name: [] for name in ("token", "position", *(look.name for look in looks))}
    cuts = np.flatnonzero(np.diff(places[order, 0])) + 1
    for chunk in np.split(order, cuts):
        row = sight.rows[int(places[chunk[0], 0])]
        for name, parts in values.items():
            parts.append(row[name][places[chunk, 1]])
    back = np.argsort(order)
    return {name: _joined(parts)[back] for name, parts in values.items()}


def drawn(sight: Sight, seed: int) -> Int[np.ndarray, "case two"]:
    """Scored places (row, place), at most `MOST` of them."""
    places = np.argwhere(sight.read.scored)
    return places[np.sort(np.random.default_rng(seed).permutation(len(places))[:MOST])]


def states(model: Model, sight: Sight, looks: Sequence[Look], kind: Judged, seed: int = 0) -> CaseStates:
    """Scored places of `sight` as they are."""
    places = drawn(sight, seed)
    found = sight.record(model, ("logits",))["logits"][places[:, 0], places[:, 1]]
    return CaseStates(gather(sight, looks, places), found, kind, _changed(sight, places, found, kind))


def _changed(sight: Sight, places: np.ndarray, found: np.ndarray, kind: Judged) -> Bool[np.ndarray, " case"]:
    """Where the model says something else than it does on the rows themselves."""
    return ~same(answers(found, kind), sight.read.answer[places[:, 0], places[:, 1]], kind)


def interchanged(
    model: Model, sight: Sight, looks: Sequence[Look], swapped: Sequence[Look], kind: Judged, seed: int
) -> CaseStates:
    """Scored places of `sight`, each with what the looks `swapped`, of one layer, saw at another scored place."""
    places = drawn(sight, seed)
    sources = places[np.random.default_rng(seed).permutation(len(places))]
    name = f"L{swapped[0].layer:02d}.z"
    z = torch.from_numpy(sight.record(model, [name])[name])
    other = z.clone()
    for head in sorted({head for look in swapped for head in look.heads}):
        other[places[:, 0], places[:, 1], head] = z[sources[:, 0], sources[:, 1], head]
    after = logits(model, sight.read.ids, {**sight.instead, name: other})[places[:, 0], places[:, 1]]
    values, taken = gather(sight, looks, places), gather(sight, looks, sources)
    moved = {look.name: taken[look.name] for look in swapped}
    return CaseStates(values | moved, after, kind, _changed(sight, places, after, kind))


@dataclass(frozen=True, eq=False)
class Crossing:
    """Scored places whose look values can be mixed: what the model says is computed from the last layer on.

    `resid` is what reaches the layer directly, `z` what its heads give; `row` says which row a place is of.
    """

    model: Model
    kind: Judged
    looks: tuple[Look, ...]
    layer: int
    row: Int[np.ndarray, " case"]
    values: dict[str, Any]
    resid: Float32[np.ndarray, "case model"]
    z: Float32[np.ndarray, "case head dim"]

    @staticmethod
    def of(model: Model, sight: Sight, looks: Sequence[Look], kind: Judged) -> Crossing:
        """The scored places of `sight`, with what the looks of the model's last layer saw there."""
        layer = model.decoder.layers - 1
        places = np.argwhere(sight.read.scored)
        names = [f"L{layer:02d}.{part}" for part in ("resid_pre", "z")]
        resid, z = (value[places[:, 0], places[:, 1]] for value in sight.record(model, names).values())
        mine = tuple(look for look in looks if look.layer == layer)
        return Crossing(model, kind, mine, layer, places[:, 0], gather(sight, looks, places), resid, z)

    def logits(self, resid: np.ndarray, z: np.ndarray) -> Float32[np.ndarray, "case vocab"]:
        """What the model says where `resid` and `z` reach its last layer."""
        given = {f"L{self.layer:02d}.{part}": torch.from_numpy(value[:, None].astype(np.float32))
                 for part, value in (("resid_pre", resid), ("z", z))}  # fmt: skip
        with torch.inference_mode():
            ids = torch.zeros(len(resid), 1, dtype=torch.long)
            return np.asarray(self.model.run(ids, ("logits",), given=given)["logits"][:, 0].numpy())

    def cases(self, count: int, seed: int) -> tuple[CaseStates, CaseStates]:
        """`count` places with what looks saw on the line between two other places; and as many next to a boundary.

        The line runs on behind either place as long as no share is negative. Where the answers at its ends differ, the
        boundary is found by bisection.
        """
        draw = np.random.default_rng(seed)
        size = len(self.resid)
        base, one, two = draw.integers(size, size=(3, count))
        alone = draw.random(count) < 0.5
        which = np.where(alone, draw.integers(len(self.looks), size=count), -1)
        low, high = self._ends(one, two)
        inner = draw.random(count) < 0.5
        at = np.where(inner, draw.random(count), low + (high - low) * draw.random(count))
        free = self._case(base, one, two, which, at)
        left, right = np.where(inner, 0.0, low), np.where(inner, 1.0, high)
        said = answers(self._case(base, one, two, which, left).logits, self.kind)
        differ = ~same(said, answers(self._case(base, one, two, which, right).logits, self.kind), self.kind)
        chosen = np.flatnonzero(differ)
        base, one, two, which, said = base[chosen], one[chosen], two[chosen], which[chosen], said[chosen]
        left, right = left[chosen], right[chosen]
        width = right - left
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            stays = same(answers(self._case(base, one, two, which, middle).logits, self.kind), said, self.kind)
            left, right = np.where(stays, middle, left), np.where(stays, right, middle)
        gap = width * draw.choice([0.01, 0.03, 0.1], len(chosen))
        sides = [self._case(base, one, two, which, edge) for edge in (left - gap, right + gap)]
        return free, joined(sides)

    def longer(self, count: int, seed: int) -> CaseStates:
        """At most `count` places as they would be in longer rows.

        What a soft look sees comes near some limit as rows grow, in steps that shrink like one by the length: two
        places of a row that hold the same token and have the same answer lie on a straight line with later ones.
        """
        draw = np.random.default_rng(seed)
        said = answers(self.logits(self.resid, self.z), self.kind)
        alike = np.unique(said, axis=0, return_inverse=True)[1].ravel()
        position = self.values["position"]
        order = np.lexsort((position, alike, self.values["token"], self.row))
        groups = np.stack([self.row, self.values["token"], alike], 1)[order]
        first = np.flatnonzero(np.any(groups != np.roll(groups, 1, axis=0), axis=1))
        start = first[np.searchsorted(first, np.arange(len(order)), side="right") - 1]
        two = draw.permutation(len(order))
        one = start[two] + (draw.random(len(two)) * (two - start[two])).astype(int)
        one, two = order[one], order[two]
        kept = np.flatnonzero(2 * position[one] <= position[two])[:count]
        one, two = one[kept], two[kept]
        _, high = self._ends(one, two)
        return self._case(two, one, two, np.full(len(two), -1), 1 + (high - 1) * FURTHER * draw.random(len(two)))

    def _ends(self, one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far the line from `one` (0) to `two` (1) runs until some share is negative; at most three lengths."""
        low, high = np.full(len(one), -1.0), np.full(len(one), 2.0)
        for look in self.looks:
            start, end = (self.values[look.name].shares[index] for index in (one, two))
            slope = end - start
            with np.errstate(all="ignore"):
                zero = -start / slope
            high = np.minimum(high, np.where(slope < -1e-6, zero, np.inf).min(1))
            low = np.maximum(low, np.where(slope > 1e-6, zero, -np.inf).max(1))
        return np.minimum(low, 0.0), np.maximum(high, 1.0)

    def _case(
        self, base: np.ndarray, one: np.ndarray, two: np.ndarray, which: np.ndarray, at: np.ndarray
    ) -> CaseStates:
        """The places `base` with what looks (number `which`, or all where that is -1) saw at `at` from one to two."""
        z = self.z[base].copy()
        values = {name: value[base] for name, value in self.values.items()}
        for number, look in enumerate(self.looks):
            mine = np.flatnonzero((which == number) | (which == -1))
            part = at[mine][:, None]
            seen = [self.values[look.name][index[mine]] for index in (one, two)]
            shares = values[look.name].shares.copy()
            shares[mine] = (1 - part) * seen[0].shares + part * seen[1].shares
            means = {}
            for name, mean in values[look.name].means.items():
                means[name] = mean.copy()
                means[name][mine] = (1 - at[mine]) * seen[0].means[name] + at[mine] * seen[1].means[name]
            values[look.name] = Seen(shares, means)
            for head in look.heads:
                z[mine, head] = (1 - part) * self.z[one[mine], head] + part * self.z[two[mine], head]
        return CaseStates(values, self.logits(self.resid[base], z), self.kind)


def reset(
    model: Model, sight: Sight, looks: Sequence[Look], kind: Judged, name: str, content: Sequence[int], seed: int
) -> CaseStates:
    """Scored places, some a row, with another `token` (of `content`) or `position`; what heads give there stays."""
    draw = np.random.default_rng(seed)
    places = np.argwhere(sight.read.scored)
    free = np.isin(sight.read.ids[places[:, 0], places[:, 1]], content)
    places = places[free]
    places = places[draw.permutation(len(places))[: RESETS * len(sight.rows)]]
    was = sight.read.ids[places[:, 0], places[:, 1]] if name == "token" else places[:, 1]
    others = draw.choice(np.array(content), len(places)) if name == "token" else draw.permutation(was)
    table = model.embedding if name == "token" else model.position_table
    names = [f"L{layer:02d}.z" for layer in range(model.decoder.layers)]
    kept = {at: torch.from_numpy(z) for at, z in sight.record(model, ["L00.resid_pre", *names]).items()}
    kept["L00.resid_pre"][places[:, 0], places[:, 1]] += table[torch.from_numpy(others)] - table[torch.from_numpy(was)]
    after = logits(model, sight.read.ids, kept)[places[:, 0], places[:, 1]]
    return CaseStates(gather(sight, looks, places) | {name: others}, after, kind, _changed(sight, places, after, kind))


def repeat(weight: float, states: CaseStates) -> Float[np.ndarray, " case"]:
    """`weight` for every case, more where an intervention had effect; a quarter where the model is not clear."""
    heavy = np.ones(len(states)) if states.moved is None else np.where(states.moved, 3.0, 1.0)
    return np.where(states.clear, weight, weight / 4) * heavy

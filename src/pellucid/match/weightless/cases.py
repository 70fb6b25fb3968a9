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
from pellucid.match.weightless.language import Look
from pellucid.match.weightless.looks import Sight
from pellucid.match.weightless.prelude import Seen
from pellucid.match.weightless.task import Answer
from pellucid.match.weightless.teacher import answers, clear, logits, same


@dataclass(frozen=True, eq=False)
class States:
    """Places with the values that hold there, and the model's logits."""

    values: dict[str, Any]
    logits: Float32[np.ndarray, "case vocab"]
    kind: Answer
    moved: Bool[np.ndarray, " case"] | None = None
    """Where an intervention on an input changed what the model says: these are few, and count more."""

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


def joined(parts: Sequence[States]) -> States:
    """All cases of `parts` in order."""
    first = parts[0]
    values = {name: _joined([part.values[name] for part in parts]) for name in first.values}
    return States(values, np.concatenate([part.logits for part in parts]), first.kind)


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


def states(model: Model, sight: Sight, looks: Sequence[Look], kind: Answer) -> States:
    """The scored places of `sight` as they are."""
    places = np.argwhere(sight.read.scored)
    found = sight.record(model, ("logits",))["logits"]
    return States(gather(sight, looks, places), found[places[:, 0], places[:, 1]], kind)


def interchanged(model: Model, sight: Sight, looks: Sequence[Look], layer: int, kind: Answer, seed: int) -> States:
    """The scored places of `sight`, each with what the looks of the last `layer` saw at another scored place."""
    places = np.argwhere(sight.read.scored)
    sources = places[np.random.default_rng(seed).permutation(len(places))]
    swapped = [look for look in looks if look.layer == layer]
    name = f"L{layer:02d}.z"
    z = torch.from_numpy(sight.record(model, [name])[name])
    other = z.clone()
    for head in sorted({head for look in swapped for head in look.heads}):
        other[places[:, 0], places[:, 1], head] = z[sources[:, 0], sources[:, 1], head]
    after = logits(model, sight.read.ids, {**sight.instead, name: other})[places[:, 0], places[:, 1]]
    values, taken = gather(sight, looks, places), gather(sight, looks, sources)
    return States(values | {look.name: taken[look.name] for look in swapped}, after, kind)


def reset(
    model: Model, sight: Sight, looks: Sequence[Look], kind: Answer, name: str, content: Sequence[int], seed: int
) -> States:
    """Scored places, a few a row, with another `token` (of `content`) or `position`; what heads give there stays."""
    draw = np.random.default_rng(seed)
    places = np.argwhere(sight.read.scored)
    free = np.isin(sight.read.ids[places[:, 0], places[:, 1]], content)
    places = places[free]
    places = places[draw.permutation(len(places))[: 4 * len(sight.rows)]]
    was = sight.read.ids[places[:, 0], places[:, 1]] if name == "token" else places[:, 1]
    others = draw.choice(np.array(content), len(places)) if name == "token" else draw.permutation(was)
    table = model.weights["wte.weight" if name == "token" else "wpe.weight"]
    names = [f"L{layer:02d}.z" for layer in range(model.config.n_layer)]
    kept = {at: torch.from_numpy(z) for at, z in sight.record(model, ["L00.resid_pre", *names]).items()}
    kept["L00.resid_pre"][places[:, 0], places[:, 1]] += table[torch.from_numpy(others)] - table[torch.from_numpy(was)]
    before, after = sight.record(model, ("logits",))["logits"], logits(model, sight.read.ids, kept)
    at, to = places[:, 0], places[:, 1]
    moved = ~same(answers(before[at, to], kind), answers(after[at, to], kind), kind)
    return States(gather(sight, looks, places) | {name: others}, after[at, to], kind, moved)


def repeat(weight: float, states: States) -> Float[np.ndarray, " case"]:
    """`weight` for every case, more where a reset input had effect; a quarter where the model is not clear."""
    heavy = np.ones(len(states)) if states.moved is None else np.where(states.moved, 3.0, 1.0)
    return np.where(states.clear, weight, weight / 4) * heavy

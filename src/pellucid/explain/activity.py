"""How much chosen parts do at every place of a text: one number, which is what explanations are about.

Of a neuron it is what it fires, of the sign in which it fires more; of a head, how much farther what it writes is from
what it writes on average than at a quarter of all places. A part is *active* where this is a quarter of what it is at
its strongest places, and does *nothing* below a fiftieth of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.measure.record import batches, record

STRONGEST: Final = 10
"""Places whose mean counts as the most that a part does."""
ACTIVE, NOTHING = 0.25, 0.02
"""Shares of that from which on a part is active, and below which it does nothing."""
RESTING: Final = 0.25
"""The share of places at which a head does nothing: it always writes something."""
_PART = re.compile(r"L(\d\d+)\.([HN])(\d\d+)")


@dataclass(frozen=True)
class Unit:
    """A whole head (`L02.H00`) or neuron (`L02.N0417`)."""

    name: str
    layer: int
    head: bool
    index: int

    @property
    def kind(self) -> str:
        """What it is called among others of its kind."""
        return "head" if self.head else "neuron"

    @property
    def site(self) -> str:
        """The activation of the exact graph that it has a share in."""
        return f"L{self.layer:02d}.{'z' if self.head else 'post'}"


def unit_of(name: str, model: Model) -> Unit:
    """The unit that `name` stands for. Raises `PellucidError` for anything that is no head or neuron of the model."""
    found = _PART.fullmatch(name)
    sizes = model.decoder.sizes
    if found is None:
        raise PellucidError(f"{name!r:.60} is no head or neuron; expected something like L00.H00 or L00.N0000")
    layer, head, index = int(found[1]), found[2] == "H", int(found[3])
    most = sizes.head if head else sizes.neuron
    if layer >= model.decoder.layers or index >= most:
        counts = f"{model.decoder.layers} layers of {sizes.head} heads and {sizes.neuron:,} neurons"
        raise PellucidError(f"there is no {name}: the model has {counts}")
    return Unit(name, layer, head, index)


@dataclass(frozen=True)
class Activity:
    """What each part does at every place of `ids`, in units of the most that it does (`scale`) on the fit text."""

    units: tuple[Unit, ...]
    ids: Int[Tensor, "row pos"]
    values: Float[Tensor, "part row pos"]

    def of(self, unit: Unit) -> Float[Tensor, "row pos"]:
        """What one part does."""
        return self.values[self.units.index(unit)]


@dataclass(frozen=True)
class Gauge:
    """What makes one number of what a part does, the same on every text: means of heads, what is nothing, the most."""

    means: dict[str, Tensor]
    floors: dict[str, float]
    signs: dict[str, float]
    scales: dict[str, float]


def gauged(model: Model, units: Sequence[Unit], rows: Int[Tensor, "row pos"]) -> tuple[Gauge, Activity]:
    """The gauge of `units`, read on fit text, and what they do there."""
    means = _means(model, {unit.site for unit in units if unit.head}, rows)
    plain = _raw(model, units, rows, means)
    floors, signs, scales = {}, {}, {}
    for unit, values in zip(units, plain, strict=True):
        negative = float(values.clamp(max=0).square().sum()) > float(values.clamp(min=0).square().sum())
        signs[unit.name] = -1.0 if negative else 1.0
        flat = signs[unit.name] * values.flatten()
        floors[unit.name] = _lower(flat, RESTING) if unit.head else 0.0
        flat = (flat - floors[unit.name]).clamp(min=0)
        scales[unit.name] = max(float(flat.topk(min(STRONGEST, len(flat))).values.mean()), 1e-30)
    gauge = Gauge(means, floors, signs, scales)
    return gauge, Activity(tuple(units), rows, _scaled(gauge, units, plain))


def activity(model: Model, gauge: Gauge, units: Sequence[Unit], rows: Int[Tensor, "row pos"]) -> Activity:
    """What `units` do on other rows, by a gauge that was read before."""
    return Activity(tuple(units), rows, _scaled(gauge, units, _raw(model, units, rows, gauge.means)))


def _scaled(gauge: Gauge, units: Sequence[Unit], plain: Float[Tensor, "part row pos"]) -> Float[Tensor, "part row pos"]:
    signs, floors, scales = (
        torch.tensor([of[unit.name] for unit in units])[:, None, None]
        for of in (gauge.signs, gauge.floors, gauge.scales)
    )
    return ((plain * signs - floors) / scales).clamp(min=0)


def _lower(values: Float[Tensor, " place"], share: float) -> float:
    """The value below which `share` of all lie."""
    return float(values.kthvalue(max(1, int(share * len(values)))).values)


def _means(model: Model, sites: set[str], rows: Int[Tensor, "row pos"]) -> dict[str, Float[Tensor, "head dim"]]:
    """What heads mix on average."""
    totals: dict[str, Tensor] = {}
    for batch in record(model, rows, sorted(sites)) if sites else ():
        for name, value in batch.values.items():
            totals[name] = totals.get(name, torch.zeros(())) + value.double().sum((0, 1)).cpu()
    return {name: (total / rows.numel()).float() for name, total in totals.items()}


def _raw(
    model: Model, units: Sequence[Unit], rows: Int[Tensor, "row pos"], means: Mapping[str, Tensor]
) -> Float[Tensor, "part row pos"]:
    """What neurons fire, and the length of what heads write beyond their mean."""
    found = torch.zeros(len(units), *rows.shape)
    start = 0
    count = sum(1 for _ in batches(rows, model.n_vocab))
    for batch in track(record(model, rows, sorted({unit.site for unit in units})), "what parts do", count):
        end = start + len(batch.ids)
        for at, unit in enumerate(units):
            value = (
                batch.values[unit.site][..., unit.index, :] if unit.head else batch.values[unit.site][..., unit.index]
            )
            if unit.head:
                out = model.layer(unit.layer).out[unit.index].float().cpu()
                moved = value.float().cpu() - means[unit.site][unit.index]
                value = (moved @ (out @ out.T) * moved).sum(-1).clamp(min=0).sqrt()
            found[at, start:end] = value.float().cpu()
        start = end
    return found

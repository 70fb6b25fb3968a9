"""How much all that a student's sources sum varies over text, and what its values go with: names say what they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.measure.record import batches
from pellucid.stages.understand.student import Student, StudentReading, edits, reach

_Key = tuple[str, int]
"""What varies, and the layer."""
_LEAST = 1e-9
"""Deviations whose product is smaller are rounding errors."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations: of kinds, and by layer of what values sum (in their order), of values and of late values.

    `values_with` and `late_with` are correlations of values with what they may sum, what neurons fire left out.
    """

    kinds: Float[Tensor, " kind"]
    terms: tuple[Float[Tensor, " *_"], ...]
    values: tuple[Float[Tensor, " value"], ...]
    late: tuple[Float[Tensor, " late"], ...]
    values_with: tuple[Float[Tensor, "_ value"], ...] = ()
    late_with: tuple[Float[Tensor, "_ late"], ...] = ()

    @classmethod
    def even(cls, student: Student) -> Spread:
        """As if everything varied alike, and nothing went with anything."""
        plan, layers = student.plan, range(student.model.decoder.layers)
        sizes = [max(len(student.tensors.get(f"L{n:02d}.{name}", ())) for name in ("values", "late")) for n in layers]
        one = torch.ones
        values, late = (tuple(one(count) for _ in layers) for count in (plan.values, plan.late))
        return cls(one(plan.kinds), tuple(one(size) for size in sizes), values, late)


@torch.no_grad()
def spread(student: Student, rows: Int[Tensor, "row pos"]) -> Spread:
    """Measured on `rows`, in the program as it is."""
    layers = range(student.model.decoder.layers)
    sums: dict[_Key, Tensor] = {}
    products: dict[_Key, Tensor] = {}
    for ids in batches(rows, student.model.n_vocab):
        for key, (said, known) in _read(student, ids.to(student.model.device)).items():
            flat = said.flatten(0, 1).double()
            sums[key] = sums.get(key, 0) + torch.stack([flat.sum(0), flat.square().sum(0)]).cpu()
            if known is not None:
                products[key] = products.get(key, 0) + (known.flatten(0, 1).double().T @ flat).cpu()
    moments = {key: total / rows.numel() for key, total in sums.items()}
    along = {
        (name, layer): _along(product / rows.numel(), moments["terms", layer], moments[name, layer])
        for (name, layer), product in products.items()
    }
    std = {key: _deviation(moment).float() for key, moment in moments.items()}
    return Spread(
        std["kinds", 0],
        tuple(std["terms", layer] for layer in layers),
        tuple(std["values", layer] for layer in layers),
        tuple(std["late", layer] for layer in layers[:-1]),
        tuple(along["values", layer] for layer in layers),
        tuple(along["late", layer] for layer in layers[:-1]),
    )


def _read(student: Student, ids: Int[Tensor, "batch pos"]) -> dict[_Key, tuple[Tensor, Tensor | None]]:
    """What varies, by name and layer; for values, with what they may sum but for what neurons fire."""
    reading, last = StudentReading(student, ids), student.model.decoder.layers - 1
    student.engine.run(ids, (f"L{last:02d}.post",), edits=edits(reading, range(last + 1)))
    found: dict[_Key, tuple[Tensor, Tensor | None]] = {("kinds", 0): (reading.levels[:, :, 0], None)}
    for layer in range(last + 1):
        known = torch.cat(reading.terms(layer), -1)
        found["terms", layer] = torch.cat([known, *(reading.fired[n] for n in reach(layer))], -1), None
        found["values", layer] = reading.values(layer), known
        if layer < last:
            found["late", layer] = reading.late(layer), known
    return found


def _deviation(moment: Float64[Tensor, "2 one"]) -> Float64[Tensor, " one"]:
    """The standard deviations that means and mean squares give."""
    mean, square = moment[0], moment[1]
    return torch.sqrt((square - mean * mean).clamp(min=0))


def _along(
    product: Float64[Tensor, "term value"], terms: Float64[Tensor, "2 all"], values: Float64[Tensor, "2 value"]
) -> Float[Tensor, "term value"]:
    """Correlations from mean products and moments; 0 where one of two never varies."""
    count = len(product)
    within = product - terms[0, :count, None] * values[0]
    both = _deviation(terms)[:count, None] * _deviation(values)
    found: Tensor = (within / both.clamp(min=_LEAST)).clamp(-1, 1) * (both > _LEAST)
    return found.float()

"""How much everything that a student's sources sum varies over text, so that terms are named by what they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.match.record import batches
from pellucid.match.understand.student import Reading, Student, edits, reach


@dataclass(frozen=True)
class Spread:
    """Standard deviations: of kinds, and by layer of what values sum (in their order), of values and of late values."""

    kinds: Float[Tensor, " kind"]
    terms: tuple[Float[Tensor, " *_"], ...]
    values: tuple[Float[Tensor, " value"], ...]
    late: tuple[Float[Tensor, " late"], ...]

    @classmethod
    def even(cls, student: Student) -> Spread:
        """As if everything varied alike."""
        plan, layers = student.plan, range(student.model.config.n_layer)
        sizes = [max(len(student.tensors.get(f"L{n:02d}.{name}", ())) for name in ("values", "late")) for n in layers]
        one = torch.ones
        values, late = (tuple(one(count) for _ in layers) for count in (plan.values, plan.late))
        return cls(one(plan.kinds), tuple(one(size) for size in sizes), values, late)


@torch.no_grad()
def spread(student: Student, rows: Int[Tensor, "row pos"]) -> Spread:
    """Measured on `rows`, in the program as it is."""
    model, last = student.model, student.model.config.n_layer - 1
    found: dict[tuple[str, int], list[Tensor]] = {}
    for ids in batches(rows, model.n_vocab):
        reading = Reading(student, ids.to(model.device))
        student.engine.run(reading.ids, (f"L{last:02d}.post",), edits=edits(reading, range(last + 1)))
        said = {("kinds", 0): reading.levels[:, :, 0]}
        for layer in range(last + 1):
            pieces = [*reading.terms(layer), *(reading.fired[n] for n in reach(layer))]
            said |= {("terms", layer): torch.cat(pieces, -1), ("values", layer): reading.values(layer)}
            if layer < last:
                said["late", layer] = reading.late(layer)
        for key, each in said.items():
            flat = each.flatten(0, 1).double()
            found.setdefault(key, []).append(torch.stack([flat.sum(0), flat.square().sum(0)]).cpu())
    sums = {key: sum(pieces[1:], pieces[0]) / rows.numel() for key, pieces in found.items()}
    std = {key: (square - mean * mean).clamp(min=0).sqrt().float() for key, (mean, square) in sums.items()}
    terms, values = (tuple(std[name, layer] for layer in range(last + 1)) for name in ("terms", "values"))
    return Spread(std["kinds", 0], terms, values, tuple(std["late", layer] for layer in range(last)))

"""Making a student small: the numbers that matter least for what they cost go first, then tokens share levels.

Leaving out a number w raises the KL by about ½ w² F, F being its Fisher information (optimal brain damage; LeCun,
Denker & Solla, NeurIPS 1989). Training keeps a running mean of squared gradients, which stands in for F.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.stages.first.levels import clusters
from pellucid.stages.understand.plan import BEND, COEFFICIENT, MEMBER, NUMBERED, RAMP, SEEN, SUMMAND
from pellucid.stages.understand.student import PLACES, RAMPS, SHIFTS, Student, features, reach

MOST_LEVELS = 16
"""The most levels that a kind may have."""
ENOUGH = 0.998
"""The share of what `MOST_LEVELS` levels save that fewer must save to be preferred."""


def prices(student: Student, token_numbers: Float[Tensor, " vocab"]) -> dict[str, Tensor]:
    """What every number that may be left out costs, by tensor.

    The text of a token costs `token_numbers` once, in equal shares for all kinds that it is of.
    """
    found: dict[str, Tensor] = {}
    if "kinds" in student.tensors:
        times = (student["kinds"] != 0).sum(1).clamp(min=1)
        found["kinds"] = (MEMBER + token_numbers.to(times.device) / times)[:, None]
    for name, tensor in student.tensors.items():
        layer, _, what = name.partition(".")
        match what:
            case "curve":
                found[name] = tensor.new_tensor(BEND)
            case "values" | "late":
                number = int(layer[1:])
                found[name] = term_prices(student, number, len(reach(number)) - (what == "values"))[:, None]
            case "neurons":
                found[name] = tensor.new_tensor(NUMBERED + COEFFICIENT)
            case _ if what and what != "bias":
                found[name] = tensor.new_tensor(SUMMAND)
    return {name: price.to(student.tensors[name]).expand_as(student.tensors[name]) for name, price in found.items()}


def term_prices(student: Student, layer: int, fired: int) -> Float[Tensor, " feature"]:
    """What each term of a layer's values costs, those over the neurons of `fired` layers included."""
    decoder = student.model.decoder
    size = features(student.plan, decoder.sizes.head, layer) + fired * decoder.sizes.neuron
    found = torch.full((size,), SUMMAND, device=student.model.device)
    found[slice(*seen_rows(student, layer))] = COEFFICIENT + SEEN
    found[1 + PLACES - len(RAMPS) : 1 + PLACES] = RAMP
    found[features(student.plan, decoder.sizes.head, layer) :] = COEFFICIENT + NUMBERED
    return found


def seen_rows(student: Student, layer: int) -> tuple[int, int]:
    """From where to where the terms of a layer's values are what heads see."""
    plan, heads = student.plan, student.model.decoder.sizes.head
    start = 1 + PLACES + SHIFTS * plan.kinds
    return start, features(plan, heads, layer) - plan.late * len(reach(layer)[:-1])


def held(student: Student, price: Mapping[str, Tensor]) -> float:
    """What all that is left of a student costs, biases included."""
    biases = sum(len(tensor) for name, tensor in student.tensors.items() if name.endswith(".bias") and tensor.ndim == 1)
    return biases + sum(float((price[name] * (student[name] != 0)).sum()) for name in price if name in student.tensors)


def prune(
    student: Student,
    squares: Mapping[str, Tensor],
    price: Mapping[str, Tensor],
    allowed: float,
) -> None:
    """Leave out what matters least for its price, until what is left costs at most `allowed`.

    `squares` are the running means of squared gradients. What was left out stays out.
    """
    names = worthy(student, squares, price)
    alive = {name: student[name] != 0 for name in names}
    worth = worths(student, squares, price)
    cost = torch.cat([price[n][alive[n]].flatten() for n in names])
    order = worth.argsort(descending=True)
    fixed = held(student, price) - float(cost.sum())
    kept = torch.zeros_like(worth, dtype=torch.bool)
    kept[order] = cost[order].cumsum(0) <= allowed - fixed
    start = 0
    for name in names:
        mask, count = alive[name].clone(), int(alive[name].sum())
        mask[alive[name]] = kept[start : start + count]
        student.masks[name] = mask.to(student.tensors[name])
        start += count


def worthy(student: Student, squares: Mapping[str, Tensor], price: Mapping[str, Tensor]) -> list[str]:
    """The tensors whose numbers may be left out and whose worth is known."""
    return [name for name in price if name in student.tensors and name in squares]


def worths(student: Student, squares: Mapping[str, Tensor], price: Mapping[str, Tensor]) -> Float[Tensor, " number"]:
    """What every number that is left is worth for its price: w² F, which is twice what leaving it out would cost."""
    found = []
    for name in worthy(student, squares, price):
        held = student[name]
        found.append((held.square() * squares[name] / price[name])[held != 0].flatten())
    return torch.cat(found)


def join_levels(student: Student, squares: Tensor) -> None:
    """Let the tokens of every kind share at most `MOST_LEVELS` levels, by weighted one-dimensional k-means."""
    table, weight = student["kinds"].detach(), squares + squares.mean() * 1e-3
    groups = clusters(weight.cpu(), table.cpu(), table.cpu() != 0, MOST_LEVELS, ENOUGH).long().to(table.device)
    levels = table.new_zeros(MOST_LEVELS, table.shape[1])
    total = torch.zeros_like(levels).scatter_add_(0, (groups - 1).clamp(min=0), weight * (groups > 0))
    levels.scatter_add_(0, (groups - 1).clamp(min=0), weight * table)
    student.tensors["levels"] = levels / total.clamp(min=1e-30)
    del student.tensors["kinds"]
    student.masks.pop("kinds", None)
    student.groups = groups

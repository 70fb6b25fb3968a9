"""Ties: coefficients that lie close together become one number, where that costs less than leaving one out would.

Giving two numbers w₁ and w₂ of Fisher information F₁ and F₂ the value in between that costs least raises the KL by
about ½ F₁F₂ / (F₁ + F₂) (w₁ − w₂)² and saves a number: what optimal brain damage is to leaving out, Ward's clustering
(JASA 1963) is to sharing. Tied are only numbers that a program writes once, and counts once: of the terms of a neuron,
and of what a value sums of the neurons of a layer or by a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.student import PLACES, SHIFTS, Student, reach


@dataclass(frozen=True)
class SharedNumbers:
    """Which numbers of a tensor are one: places in it when it is flat, and the group of each."""

    places: Int[Tensor, " number"]
    groups: Int[Tensor, " number"]

    @property
    def numbers(self) -> int:
        """How many numbers they are together."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def share(self, tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """`tensor` with the mean of every group in the place of its numbers."""
        flat = tensor.flatten().clone()
        found = flat[self.places]
        total = found.new_zeros(self.numbers)
        count = torch.zeros_like(total).scatter_add_(0, self.groups, torch.ones_like(found))
        flat[self.places] = (total.scatter_add_(0, self.groups, found) / count)[self.groups]
        return flat.view(tensor.shape)


def tie(
    student: Student, squares: Mapping[str, Tensor], bound: float
) -> tuple[dict[str, SharedNumbers], dict[str, Float[Tensor, "*shape"]]]:
    """The ties of all tensors whose numbers may be tied, and these tensors with their numbers tied.

    Numbers are tied where that costs less than `bound` for each one saved, as `squares`, running means of squared
    gradients, tell.
    """
    ties, tied = {}, {}
    for name, tensor in student.tensors.items():
        layer, _, what = name.partition(".")
        if what in ("values", "late", "neurons") and name in squares:
            held = student[name].detach()
            several = cells(student.plan, student.model.decoder.sizes.head, int(layer[1:]), len(held), what)
            ties[name], tied[name] = tie_tensor(held, squares[name], several.to(tensor.device), bound)
    return ties, tied


def tie_tensor(
    tensor: Float[Tensor, "term value"], square: Float[Tensor, "term value"], cell: Int[Tensor, " term"], bound: float
) -> tuple[SharedNumbers, Float[Tensor, "term value"]]:
    """The ties within every column and cell, and the tensor with its numbers tied; those of cell 0 stay alone."""
    rows, columns = ((tensor != 0) & (cell != 0)[:, None]).nonzero(as_tuple=True)
    kept, keys = tensor[rows, columns].double(), columns * (int(cell.max()) + 1) + cell[rows]
    order = kept.argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    rows, columns = rows[order], columns[order]
    weights = square[rows, columns].double() + square.double().mean() * 1e-3 + torch.finfo(torch.double).tiny
    groups, means = clustered(keys[order], kept[order], weights, bound)
    tied = tensor.clone()
    tied[rows, columns] = means[groups].to(tensor)
    return SharedNumbers(rows * tensor.shape[1] + columns, groups), tied


def clustered(
    keys: Int[Tensor, " number"], values: Tensor, weights: Tensor, bound: float
) -> tuple[Int[Tensor, " number"], Tensor]:
    """The group of each of the sorted `values`, and the mean of every group: neighbours join that have one key.

    Equal values join first. Then pairs join that cost less than their neighbours do with either, all at once, until
    none costs less than `bound`.
    """
    groups = torch.arange(len(keys), device=keys.device)
    joins = (keys[1:] == keys[:-1]) & (values[1:] == values[:-1])
    keys, values, weights, groups = joined(joins, keys, values, weights, groups)
    while len(keys) > 1:
        cost = weights[1:] * weights[:-1] / (weights[1:] + weights[:-1]) * values.diff().square()
        cost[keys[1:] != keys[:-1]] = torch.inf
        none = cost.new_full((1,), torch.inf)
        joins = (cost < bound) & (cost <= torch.cat([none, cost[:-1]])) & (cost < torch.cat([cost[1:], none]))
        if not joins.any():
            break
        keys, values, weights, groups = joined(joins, keys, values, weights, groups)
    return groups, values


def joined(
    joins: Bool[Tensor, " pair"], keys: Int[Tensor, " number"], values: Tensor, weights: Tensor, groups: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys, weighted means, summed weights and groups where `joins` says which neighbours are one from now on."""
    if not joins.any():
        return keys, values, weights, groups
    into = torch.cat([torch.zeros(1, dtype=torch.long, device=keys.device), (~joins).long().cumsum(0)])
    total = weights.new_zeros(int(into[-1]) + 1).scatter_add_(0, into, weights)
    means = torch.zeros_like(total).scatter_add_(0, into, weights * values) / total
    return torch.zeros_like(total, dtype=torch.long).scatter_(0, into, keys), means, total, into[groups]


def cells(plan: Plan, heads: int, layer: int, rows: int, what: str) -> Int[Tensor, " term"]:
    """Which terms may be tied: those of one cell; 0 for what is named with a number of its own."""
    if what == "neurons":
        return torch.ones(rows, dtype=torch.long)
    sizes = [(0, 1 + PLACES + SHIFTS * plan.kinds)]
    for n in reach(layer):
        sizes += [(len(sizes) + head, plan.kinds + plan.late * (n > 0)) for head in range(heads)]
    number, own = len(sizes), plan.late * len(reach(layer)[:-1])
    fired = len(reach(layer)) - (what == "values")
    each = (rows - sum(size for _, size in sizes) - own) // max(1, fired)
    sizes += [(0, own), *((number + n, each) for n in range(fired))]
    return torch.cat([torch.full((size,), cell) for cell, size in sizes])

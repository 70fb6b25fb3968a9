"""Ties: coefficients that lie close together become one number, where that costs less than leaving one out would.

Giving two numbers w₁ and w₂ of Fisher information F₁ and F₂ the value in between that costs least raises the KL by
about ½ F₁F₂ / (F₁ + F₂) (w₁ − w₂)² and saves a number: what optimal brain damage is to leaving out, Ward's clustering
(JASA 1963) is to sharing. Tied are only numbers that a program writes once: of the terms of a neuron, of what a value
sums of the neurons of a layer or by a head, and of all else that it sums, where signs may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.match.understand.plan import Plan
from pellucid.match.understand.student import PLACES, SHIFTS, Student, reach


@dataclass(frozen=True)
class Tie:
    """Which numbers of a tensor are one: places in it when it is flat, the group of each, and its sign there."""

    places: Int[Tensor, " number"]
    groups: Int[Tensor, " number"]
    signs: Float[Tensor, " number"]

    @property
    def numbers(self) -> int:
        """How many numbers they are together."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def share(self, tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """`tensor` with the mean of every group, but for signs, in the place of its numbers."""
        flat = tensor.flatten().clone()
        found = flat[self.places] * self.signs
        total = found.new_zeros(self.numbers)
        count = torch.zeros_like(total).scatter_add_(0, self.groups, torch.ones_like(found))
        flat[self.places] = (total.scatter_add_(0, self.groups, found) / count)[self.groups] * self.signs
        return flat.view(tensor.shape)


def tie(
    student: Student, squares: Mapping[str, Tensor], bound: float
) -> tuple[dict[str, Tie], dict[str, Float[Tensor, "*shape"]]]:
    """The ties of all tensors whose numbers may be tied, and these tensors with their numbers tied.

    Numbers are tied where that costs less than `bound` for each one saved, as `squares`, running means of squared
    gradients, tell.
    """
    ties, tied = {}, {}
    for name, tensor in student.tensors.items():
        layer, _, what = name.partition(".")
        if what in ("values", "late", "neurons") and name in squares:
            held = student[name].detach()
            several = cells(student.plan, student.model.config.n_head, int(layer[1:]), len(held), what)
            ties[name], tied[name] = tie_tensor(held, squares[name], several.to(tensor.device), bound)
    return ties, tied


def tie_tensor(
    tensor: Float[Tensor, "term value"], square: Float[Tensor, "term value"], cell: Int[Tensor, " term"], bound: float
) -> tuple[Tie, Float[Tensor, "term value"]]:
    """The ties within every column and cell, and the tensor with its numbers tied.

    Numbers of a negative `cell` may have one value but for their signs; those of cell 0 stay alone.
    """
    rows, columns = ((tensor != 0) & (cell != 0)[:, None]).nonzero(as_tuple=True)
    kept = tensor[rows, columns].double()
    signs = torch.where(cell[rows] < 0, kept.sign(), 1.0)
    keys = columns * (2 * int(cell.abs().max()) + 1) + cell[rows]
    order = (kept * signs).argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    floor = square.double().mean() * 1e-3
    groups, means = clustered(keys[order], (kept * signs)[order], square[rows, columns].double()[order] + floor, bound)
    rows, columns, signs = rows[order], columns[order], signs[order]
    tied = tensor.clone()
    tied[rows, columns] = (means[groups] * signs).to(tensor)
    return Tie(rows * tensor.shape[1] + columns, groups, signs.to(tensor)), tied


def clustered(
    keys: Int[Tensor, " number"], values: Tensor, weights: Tensor, bound: float
) -> tuple[Int[Tensor, " number"], Tensor]:
    """The group of each of the sorted `values`, and the mean of every group: neighbours join that have one key.

    Pairs join that cost less than their neighbours do with either, all at once, until none costs less than `bound`.
    """
    groups = torch.arange(len(keys), device=keys.device)
    while len(keys) > 1:
        cost = weights[1:] * weights[:-1] / (weights[1:] + weights[:-1]) * values.diff().square()
        cost[keys[1:] != keys[:-1]] = torch.inf
        none = cost.new_full((1,), torch.inf)
        joins = (cost < bound) & (cost <= torch.cat([none, cost[:-1]])) & (cost < torch.cat([cost[1:], none]))
        if not joins.any():
            break
        into = torch.cat([torch.zeros(1, dtype=torch.long, device=keys.device), (~joins).long().cumsum(0)])
        total = weights.new_zeros(int(into[-1]) + 1).scatter_add_(0, into, weights)
        values = torch.zeros_like(total).scatter_add_(0, into, weights * values) / total
        keys = torch.zeros_like(total, dtype=torch.long).scatter_(0, into, keys)
        weights, groups = total, into[groups]
    return groups, values


def cells(plan: Plan, heads: int, layer: int, rows: int, what: str) -> Int[Tensor, " term"]:
    """Which terms may be tied: those of one cell; negative where signs may differ, 0 for what stays alone."""
    if what == "neurons":
        return torch.ones(rows, dtype=torch.long)
    plain = torch.full((1 + PLACES + SHIFTS * plan.kinds,), -1)
    plain[0] = 0
    pieces, number = [plain], 1
    for n in reach(layer):
        for _ in range(heads):
            pieces.append(torch.full((plan.kinds + plan.late * (n > 0),), number))
            number += 1
    for _ in reach(layer)[:-1]:
        number += 1
        pieces.append(torch.full((plan.late,), -number))
    known = sum(map(len, pieces))
    fired = len(reach(layer)) - (what == "values")
    size = (rows - known) // max(1, fired)
    pieces += [torch.full((size,), number + 1 + n) for n in range(fired)]
    return torch.cat(pieces)

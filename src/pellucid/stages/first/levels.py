"""Levels: the numbers that a neuron's source holds, found from pooled moments of weighted squared errors.

All positions that share a level z̃ cost Σ w (z̃ − z)² = z̃² Σw − 2 z̃ Σwz + Σwz² together, so three sums a group suffice
to find and to judge any level. Everything here does so for all neurons of a layer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

STEPS = 12
CELLS = 512
"""Items beyond so many are joined before k-means: neighbours, as many each."""

Act = Callable[[Tensor], Tensor]
Cells = Float[Tensor, "moment cell neuron"]
"""Σw, Σwz and Σwz² of each group of positions, z being post-activations."""


def itself(x: Tensor) -> Tensor:
    """What the sources of gated neurons are read through: they say the activation."""
    return x


def loss(post: Float[Tensor, "cell neuron"], cells: Cells) -> Float[Tensor, "cell neuron"]:
    """Σ w (post − z)² of each cell from its moments Σw, Σwz and Σwz²."""
    weight, first, second = cells.double()
    exact: Tensor = weight * post.double().square() - 2 * first * post.double() + second
    return exact.clamp(min=0).float()


def gauss_newton(
    pre: Callable[[Tensor], Tensor],
    act: Act,
    start: Float[Tensor, "constant neuron"],
    cells: Cells,
    used: Bool[Tensor, "constant neuron"],
    longest: float = 2.0,
) -> Float[Tensor, "constant neuron"]:
    """Minimise each neuron's loss over its `used` constants from `start`: Gauss–Newton with damping (Levenberg).

    `pre` must be linear in the constants. A step that does not help is undone and damped more; none moves a constant by
    more than `longest`.
    """
    count, neurons = start.shape
    basis = torch.stack([pre(torch.eye(count)[:, at : at + 1]) for at in range(count)], 1)[..., 0]
    constants = start * used
    damping = torch.full((neurons,), 1e-3)
    best = loss(act(pre(constants)), cells).sum(0)
    for _ in range(STEPS):
        step = _step(pre(constants), act, basis, cells, used, damping)
        tried = constants - step.clamp(-longest, longest)
        now = loss(act(pre(tried)), cells).sum(0)
        better = now < best
        constants = torch.where(better, tried, constants)
        best = torch.where(better, now, best)
        damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e6)
    return constants


def _step(
    pre: Float[Tensor, "cell neuron"],
    act: Act,
    basis: Float[Tensor, "cell constant"],
    cells: Cells,
    used: Bool[Tensor, "constant neuron"],
    damping: Float[Tensor, " neuron"],
) -> Float[Tensor, "constant neuron"]:
    """The damped Gauss–Newton step of every neuron at pre-activations `pre`."""
    with torch.enable_grad():
        at = pre.detach().requires_grad_()
        post = act(at)
        (slope,) = torch.autograd.grad(post.sum(), at)
    gradient = torch.einsum("ck,cn->nk", basis, slope * (cells[0] * post.detach() - cells[1]))
    hessian = torch.einsum("ck,cl,cn->nkl", basis, basis, cells[0] * slope.square())
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    ridge = damping[:, None] * (diagonal + diagonal.amax(1, keepdim=True) * 1e-3) + 1e-30
    off = ~used.T
    system = hessian.double() + torch.diag_embed(ridge.double())
    system = system.masked_fill(off[:, :, None] | off[:, None, :], 0) + torch.diag_embed(off.double())
    solved: Tensor = torch.linalg.solve(system, gradient.masked_fill(off, 0).double())
    return solved.float().T


def clusters(
    weight: Float[Tensor, "item neuron"],
    level: Float[Tensor, "item neuron"],
    kept: Bool[Tensor, "item neuron"],
    most: int,
    enough: float,
) -> UInt8[Tensor, "item neuron"]:
    """Join the `kept` items of each neuron into at most `most` groups of like level, numbered from 1; 0 elsewhere.

    Weighted one-dimensional k-means: sorted, groups are runs, and the best runs follow by dynamic programming over
    prefix sums (Wang & Song, The R Journal 2011). What a run of weight W and sum M saves is M² / W. It is exact for up
    to `CELLS` items; of more, neighbours are joined first. The fewest groups are made that save the share `enough` of
    what `most` of them save.
    """
    order = torch.where(kept, level, torch.inf).argsort(0)
    items, neurons = weight.shape
    places, count = torch.arange(items)[:, None], kept.sum(0)
    cell = (places * CELLS // count.clamp(min=CELLS)).clamp(max=min(items, CELLS) - 1)
    cells = weight.new_zeros(int(cell.max()) + 1, neurons, dtype=torch.float64)
    first, second = (cells.scatter_add(0, cell, (x * kept).gather(0, order).double()) for x in (weight, weight * level))
    end = count.clamp(max=len(cells))
    best, begin = _runs(first, second, most)
    at_end = torch.stack([table.gather(0, end[None])[0] for table in best[1:]])
    groups = (at_end >= enough * at_end.clamp(min=0).amax(0)).float().argmax(0) + 1
    number = torch.zeros(len(cells), neurons, dtype=torch.uint8)
    for group in range(most, 0, -1):
        start = begin[group].gather(0, end[None])[0]
        active = (group <= groups) & (end > 0)
        number[active & (places[: len(cells)] >= start) & (places[: len(cells)] < end)] = group
        end = torch.where(active, start, end)
    each = number.gather(0, cell) * (places < count)
    return torch.zeros_like(each).scatter_(0, order, each)


def _runs(
    weight: Float64[Tensor, "item neuron"], total: Float64[Tensor, "item neuron"], most: int
) -> tuple[list[Tensor], list[Tensor]]:
    """For n ≤ `most` groups: what the first e items save at best, [e, neuron], and where their last group begins."""
    items, neurons = weight.shape
    none = weight.new_zeros(1, neurons)
    weights, totals = (torch.cat([none, x.cumsum(0)]) for x in (weight, total))
    best = [weight.new_full((items + 1, neurons), -torch.inf) for _ in range(1 + most)]
    best[0][0] = 0
    begin = [torch.zeros(items + 1, neurons, dtype=torch.long) for _ in range(1 + most)]
    for end in range(1, items + 1):
        saved = (totals[end] - totals[:end]).square() / (weights[end] - weights[:end]).clamp(min=1e-30)
        for groups in range(1, 1 + most):
            best[groups][end], begin[groups][end] = (best[groups - 1][:end] + saved).max(0)
    return best, begin


@dataclass
class Inverse:
    """The pre-activation that gives a post-activation, on the branch that runs from the activation's least value up."""

    act: Act
    grid: Float[Tensor, " point"] = field(init=False)
    values: Float[Tensor, " point"] = field(init=False)

    def __post_init__(self) -> None:
        grid = torch.linspace(-12, 60, 14401)
        values = self.act(grid)
        lowest = int((values <= values.min()).nonzero().max())
        self.grid, self.values = grid[lowest:], values[lowest:].cummax(0).values

    def __call__(self, post: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """By linear interpolation; what is out of reach gives the nearest end."""
        if self.act is itself:
            return post
        right = torch.searchsorted(self.values, post.contiguous()).clamp(1, len(self.values) - 1)
        low, high = self.values[right - 1], self.values[right]
        part = ((post - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        return self.grid[right - 1] + part * (self.grid[right] - self.grid[right - 1])

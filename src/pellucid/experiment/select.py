"""Selecting positions, heads, neurons and rows of an activation, to read them or to put something in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.axes import BATCH, HEAD, KEY, NEURON, POS, QUERY
from pellucid.base.errors import PellucidError
from pellucid.experiment.sites import Site

Which = int | slice | Sequence[int] | Tensor | None
"""One (its axis is dropped), a range, several, or a mask; None means all. Negative numbers count from the end."""


@dataclass(frozen=True)
class Selection:
    """Which rows, positions (of queries, where there are pairs), keys, heads and neurons."""

    rows: Which = None
    positions: Which = None
    keys: Which = None
    heads: Which = None
    neurons: Which = None

    def at(self, site: Site, shape: Sequence[int], where: str) -> Slice:
        """What is selected of an activation of `shape`. Raises `PellucidError` for what is not there."""
        asked = {BATCH: ("rows", self.rows), POS: ("positions", self.positions), QUERY: ("positions", self.positions)}
        asked |= {KEY: ("keys", self.keys), HEAD: ("heads", self.heads), NEURON: ("neurons", self.neurons)}
        axes = site.axes
        if KEY in axes and QUERY not in axes:
            asked[KEY] = ("positions", self.positions)
        known = {asked[axis][0] for axis in axes if axis in asked}
        for name in ("rows", "positions", "keys", "heads", "neurons"):
            if getattr(self, name) is not None and name not in known:
                raise PellucidError(f"{where} has no {name}: its axes are {', '.join(axes)}")
        chosen: dict[int, tuple[Tensor, bool]] = {}
        for axis, name in enumerate(axes):
            if name in asked and asked[name][1] is not None:
                chosen[axis] = _index(asked[name][1], shape[axis], f"{asked[name][0]} of {where}")
            if site.members is not None and name in (HEAD, NEURON):
                if axis in chosen:
                    raise PellucidError(f"{where} is an address already; leave out {asked[name][0]}=")
                chosen[axis] = (torch.tensor(site.members), site.single)
        return Slice(tuple((axis, *chosen[axis]) for axis in sorted(chosen)))


@dataclass(frozen=True)
class Slice:
    """Indices by axis, and whether the axis is dropped when reading."""

    chosen: tuple[tuple[int, Int[Tensor, " _"], bool], ...]

    def read(self, x: Tensor) -> Tensor:
        """The selected part of `x`."""
        for axis, index, _ in self.chosen:
            x = x.index_select(axis, index.to(x.device))
        for axis, _, dropped in reversed(self.chosen):
            x = x.squeeze(axis) if dropped else x
        return x

    def write(self, x: Tensor, new: Tensor) -> Tensor:
        """`x` with `new` (of the shape that `read` gives) in place of what is selected; gradients flow through both."""
        for axis, _, dropped in self.chosen:
            new = new.unsqueeze(axis) if dropped else new
        return self._write(x, new, 0)

    def _write(self, x: Tensor, new: Tensor, at: int) -> Tensor:
        if at == len(self.chosen):
            return new
        axis, index, _ = self.chosen[at]
        index = index.to(x.device)
        inner = new if at == len(self.chosen) - 1 else self._write(x.index_select(axis, index), new, at + 1)
        return x.index_copy(axis, index, inner)


def _index(which: Which, size: int, what: str) -> tuple[Int[Tensor, " _"], bool]:
    """The indices that `which` selects among `size`, and whether its axis is dropped."""
    if isinstance(which, slice):
        index = torch.arange(size)[which]
    elif isinstance(which, Tensor) and which.dtype == torch.bool:
        if which.shape != (size,):
            raise PellucidError(f"the mask of {what} has shape {list(which.shape)}, expected [{size}]")
        index = which.nonzero()[:, 0]
    else:
        index = torch.as_tensor(which, dtype=torch.long).reshape(-1)
    wrong = index[(index < -size) | (index >= size)]
    if len(wrong):
        raise PellucidError(f"{what}: {int(wrong[0])} is not among the {size} that there are (0 … {size - 1})")
    index = torch.where(index < 0, index + size, index)
    if not len(index):
        raise PellucidError(f"{what}: {which!r} selects none of the {size} that there are; a change that never fires")
    if len(set(index.tolist())) != len(index):
        raise PellucidError(f"{what}: {which!r} names one of them twice")
    return index, isinstance(which, int)

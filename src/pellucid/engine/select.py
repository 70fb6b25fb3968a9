"""Selecting positions, heads, neurons and rows of an activation, to read them or to put something in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.axes import BATCH, HEAD, KEY, NEURON, POS, QUERY
from pellucid.base.errors import PellucidError
from pellucid.engine.sites import Site

Which = int | slice | Sequence[int] | Tensor | None
"""One (its axis is dropped), a range, several, or a mask; None means all. Negative numbers count from the end.

Positions, of queries and of keys, count from the end of the run that they belong to.
"""


@dataclass(frozen=True)
class Window:
    """Which positions of a text an activation has: from `first` on; negative ones count from the end of the prompt.

    `length` is the prompt's. With `beyond`, positions up to that number may follow, which are still to be written:
    ranges without an end go on over them.
    """

    length: int
    first: int = 0
    beyond: int | None = None

    def places(self, which: Which, start: int, size: int, what: str) -> Int[Tensor, " _"]:
        """The indices, on an axis of `size` positions from `start` on, of what `which` selects; maybe none of them.

        Raises `PellucidError` for what is not in the text, and where nothing is selected in all of it.
        """
        most = self.length if self.beyond is None else self.beyond
        if isinstance(which, slice):
            if which.step is not None and which.step < 0:
                raise PellucidError(f"{what}: {which!r} runs backwards; expected a range with a step of at least 1")
            begin, end = which.start or 0, most if which.stop is None else which.stop
            first, last = (max(0, at + self.length) if at < 0 else min(at, most) for at in (begin, end))
            index = torch.arange(first, max(first, last), which.step or 1)
        else:
            index = _counted(_numbers(which, self.length, what), self.length, most, what)
        _require_some(index, which, self.length, what)
        return index[(index >= start) & (index < start + size)] - start


@dataclass(frozen=True)
class Selection:
    """Which rows, positions (of queries, where there are pairs), keys, heads and neurons."""

    rows: Which = None
    positions: Which = None
    keys: Which = None
    heads: Which = None
    neurons: Which = None

    @property
    def named(self) -> list[str]:
        """What is selected, as it was written."""
        return [f"{one.name}={value!r}" for one in fields(self) if (value := getattr(self, one.name)) is not None]

    def at(self, site: Site, shape: Sequence[int], where: str, window: Window | None = None) -> Slice:
        """What is selected of an activation of `shape`, which has the positions of `window` (None: from 0 on).

        Raises `PellucidError` for what is not there. In a window that is not the whole text, nothing may be selected.
        """
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
            if name in asked and (which := asked[name][1]) is not None:
                what, dropped = f"{asked[name][0]} of {where}", isinstance(which, int)
                if name in (POS, QUERY, KEY):
                    here = window or Window(shape[axis])
                    start = 0 if name == KEY else here.first
                    chosen[axis] = here.places(which, start, shape[axis], what), dropped
                else:
                    chosen[axis] = indices(which, shape[axis], what), dropped
            if site.members is not None and name in (HEAD, NEURON):
                if axis in chosen:
                    raise PellucidError(f"{where} is an address already; leave out {asked[name][0]}=")
                chosen[axis] = (torch.tensor(site.members), site.single)
        return Slice(tuple((axis, *chosen[axis]) for axis in sorted(chosen)))


@dataclass(frozen=True)
class Slice:
    """Indices by axis, and whether the axis is dropped when reading."""

    chosen: tuple[tuple[int, Int[Tensor, " _"], bool], ...]

    @property
    def empty(self) -> bool:
        """Whether nothing is selected: a window may lie elsewhere."""
        return any(not len(index) for _, index, _ in self.chosen)

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


def indices(which: Which, size: int, what: str) -> Int[Tensor, " _"]:
    """The indices that `which` selects among `size`. Raises `PellucidError` for what is not there, or none."""
    index = torch.arange(size)[which] if isinstance(which, slice) else _numbers(which, size, what)
    index = _counted(index, size, size, what)
    _require_some(index, which, size, what)
    return index


def _numbers(which: Which, size: int, what: str) -> Int[Tensor, " _"]:
    """The numbers in a list, a tensor or a mask of `size`."""
    if isinstance(which, Tensor) and which.dtype == torch.bool:
        if which.shape != (size,):
            raise PellucidError(f"the mask of {what} has shape {list(which.shape)}, expected [{size}]")
        return which.nonzero()[:, 0]
    return torch.as_tensor(which, dtype=torch.long).reshape(-1)


def _counted(index: Int[Tensor, " _"], size: int, most: int, what: str) -> Int[Tensor, " _"]:
    """`index` with negative numbers counted from the end of `size`; up to `most` may be there."""
    wrong = index[(index < -size) | (index >= most)]
    if len(wrong):
        raise PellucidError(f"{what}: {int(wrong[0])} is not among the {most} that there are (0 … {most - 1})")
    return torch.where(index < 0, index + size, index)


def _require_some(index: Int[Tensor, " _"], which: Which, size: int, what: str) -> None:
    if not len(index):
        raise PellucidError(f"{what}: {which!r} selects none of the {size} that there are; a change that never fires")
    if len(set(index.tolist())) != len(index):
        raise PellucidError(f"{what}: {which!r} names one of them twice")

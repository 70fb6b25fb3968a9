"""Where a matrix stands in a checkpoint, and the same matrix in canonical axes.

A slot's layout names the axes of the stored tensor, rows first; its arrow points from what is read to what is written.
`"model -> part head dim"` is GPT-2's joint projection, whose rows are inputs; `"head part dim <- model"` is GPT-NeoX's,
whose rows are outputs; `"group dim <- model"` are Llama's keys. The axes are those of `base/axes.py`; `part` runs over
the matrices that share a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PART = "part"
STORED = ("{}.weight", "{}.bias")
"""What a matrix and its bias are called in a checkpoint."""


def named(tensor: str, stored: tuple[str, str], layer: int) -> tuple[str, str]:
    """The names of a matrix and its bias in `layer`."""
    name = tensor.format(layer=layer)
    weight, bias = (pattern.format(name, layer=layer) for pattern in stored)
    return weight, bias


@dataclass(frozen=True)
class Sizes:
    """How long each axis of a decoder is. `group` counts heads of keys and values; `pos` is the longest text."""

    model: int
    head: int
    group: int
    dim: int
    neuron: int
    vocab: int
    pos: int

    def __getitem__(self, axis: str) -> int:
        """The length of the axis of that name."""
        return int(getattr(self, axis))


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of a stored tensor; `columns` is None for a vector."""

    tensor: str
    rows: slice
    columns: slice | None = None

    @property
    def index(self) -> tuple[slice, ...]:
        """What to index the tensor with; the result is a view, so what is written to it is in the tensor."""
        return (self.rows,) if self.columns is None else (self.rows, self.columns)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        columns = 1 if self.columns is None else self.columns.stop - self.columns.start
        return int((self.rows.stop - self.rows.start) * columns)

    @staticmethod
    def whole(tensor: str, shape: Sequence[int]) -> Rectangle:
        """All of a matrix or a vector of that shape."""
        return Rectangle(tensor, slice(0, shape[0]), slice(0, shape[1]) if len(shape) == 2 else None)


@dataclass(frozen=True)
class Slot:
    """One linear map of a layer: `tensor` (`h.{layer}.attn.c_attn`), laid out; `part` of `parts` that share it."""

    tensor: str
    layout: str
    part: int | None = None
    bias: bool = True
    parts: int = 3
    stored: tuple[str, str] = STORED

    @cached_property
    def _sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The axes of rows, and those of columns."""
        rows, columns = self.layout.replace("<-", "->").split("->")
        return tuple(rows.split()), tuple(columns.split())

    @property
    def reads_rows(self) -> bool:
        """Whether the stored rows are inputs (`x @ weight`), rather than outputs (`weight @ x`)."""
        return "->" in self.layout

    @property
    def outputs(self) -> tuple[str, ...]:
        """The axes of what it puts out, `part` among them where the tensor is shared."""
        return self._sides[1 if self.reads_rows else 0]

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the stored matrix, rows first."""
        return self._sides[0] + self._sides[1]

    @property
    def heads_axis(self) -> str:
        """The axis that counts its heads: of a joint projection as many keys as queries, else of keys one a group."""
        return "group" if "group" in self.outputs else "head"

    def weight(self, layer: int) -> str:
        """The name of the stored matrix in `layer`."""
        return named(self.tensor, self.stored, layer)[0]

    def bias_name(self, layer: int) -> str:
        """The name of its bias, if it has one."""
        return named(self.tensor, self.stored, layer)[1]

    def names(self, layer: int) -> tuple[str, ...]:
        """The names of all that it multiplies with and adds."""
        return (self.weight(layer), self.bias_name(layer)) if self.bias else (self.weight(layer),)

    def lengths(self, axes: Sequence[str], sizes: Sizes) -> list[int]:
        """The lengths of `axes`."""
        return [self.parts if axis == PART else sizes[axis] for axis in axes]

    def shapes(self, layer: int, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """The shapes of the stored tensors by name."""
        rows, columns = (prod(self.lengths(side, sizes)) for side in self._sides)
        found: dict[str, tuple[int, ...]] = {self.weight(layer): (rows, columns)}
        if self.bias:
            found[self.bias_name(layer)] = (prod(self.lengths(self.outputs, sizes)),)
        return found

    def view(self, weights: Mapping[str, Tensor], layer: int, sizes: Sizes, order: str) -> Tensor:
        """The matrix with its axes in `order` (`"model head dim"`): a view; what is written to it is in `weights`."""
        return self._ordered(weights[self.weight(layer)], self.axes, sizes, order)

    def bias_view(self, weights: Mapping[str, Tensor], layer: int, sizes: Sizes, order: str) -> Tensor | None:
        """The bias with the axes of the outputs in `order`, a view; None where there is none."""
        return self._ordered(weights[self.bias_name(layer)], self.outputs, sizes, order) if self.bias else None

    def owned(self, layer: int, sizes: Sizes, **chosen: int) -> list[Rectangle]:
        """The rectangles of matrix and bias at the `chosen` places of axes (`head=3`), of this part of the tensor.

        Raises `ValueError` where these numbers do not lie in one rectangle.
        """
        at = chosen if self.part is None else {PART: self.part, **chosen}
        rows, columns = (self._stretch(side, sizes, at) for side in self._sides)
        found = [Rectangle(self.weight(layer), rows, columns)]
        if self.bias and at.keys() & set(self.outputs):
            found.append(Rectangle(self.bias_name(layer), self._stretch(self.outputs, sizes, at)))
        return found

    def _ordered(self, stored: Tensor, axes: tuple[str, ...], sizes: Sizes, order: str) -> Tensor:
        found, names = stored.view(self.lengths(axes, sizes)), list(axes)
        if self.part is not None:
            found = found.select(names.index(PART), self.part)
            names.remove(PART)
        return found.permute([names.index(axis) for axis in order.split()])

    def _stretch(self, side: tuple[str, ...], sizes: Sizes, at: Mapping[str, int]) -> slice:
        """The rows (or columns) where the axes of `side` that `at` names have its values."""
        lengths = self.lengths(side, sizes)
        fixed = [axis in at for axis in side]
        if fixed != sorted(fixed, reverse=True):
            raise ValueError(f"{dict(at)} is no rectangle of {self.layout!r}")
        behind = prod(lengths[sum(fixed) :])
        start = 0
        for axis, length in zip(side[: sum(fixed)], lengths, strict=False):
            start = start * length + at[axis]
        return slice(start * behind, (start + 1) * behind)

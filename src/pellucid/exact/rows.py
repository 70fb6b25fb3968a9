"""Rows of tokens that run together: shorter ones are padded at the left, so that all of them end at the same place.

Padding has no position of its own, is looked at by nobody and looks at nothing, so a row's activations and logits do
not depend on its company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.base.axes import KEY, POS, QUERY
from pellucid.base.errors import PellucidError


@dataclass(frozen=True)
class Rows:
    """Token ids, and how many of the first in each row are padding (`pads` None: none)."""

    ids: Int[Tensor, "batch pos"]
    pads: Int[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(rows: Sequence[Int[Tensor, " _"]]) -> Rows:
        """Rows of any lengths, padded where they differ. Raises `PellucidError` for an empty one."""
        if not rows or not all(len(row) for row in rows):
            raise PellucidError("there is a prompt without tokens, or none at all; give at least one token a row")
        longest = max(map(len, rows))
        if all(len(row) == longest for row in rows):
            return Rows(torch.stack(list(rows)))
        pads = torch.tensor([longest - len(row) for row in rows], device=rows[0].device)
        return Rows(torch.stack([torch.cat([row.new_zeros(longest - len(row)), row]) for row in rows]), pads)

    @staticmethod
    def masked(ids: Int[Tensor, "_ _"], mask: Int[Tensor, "_ _"] | Bool[Tensor, "_ _"]) -> Rows:
        """The tokens of `ids` where `mask` is not 0, on whichever side the padding is.

        Raises `PellucidError` for a mask with a hole, which would be another text.
        """
        if ids.shape != mask.shape:
            raise PellucidError(f"token ids have shape {list(ids.shape)} and their mask {list(mask.shape)}")
        kept = mask != 0
        ends = kept.cumsum(1)
        if bool(((ends > 0) & (ends < kept.sum(1, keepdim=True)) & ~kept).any()):
            raise PellucidError(
                "the mask leaves out tokens between others; only padding at an end of a row can be left"
            )
        return Rows.of([row[own] for row, own in zip(ids, kept, strict=True)])

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        """Where there are tokens, and not padding."""
        at = torch.arange(self.ids.shape[1], device=self.ids.device)
        return at >= (0 if self.pads is None else self.pads[:, None]) if len(self) else at.bool()

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each row."""
        longest = self.ids.shape[1]
        return [longest] * len(self) if self.pads is None else (longest - self.pads).tolist()

    def apart(self) -> list[Int[Tensor, " _"]]:
        """Each row's own tokens."""
        return [row[len(row) - length :] for row, length in zip(self.ids, self.lengths, strict=True)]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The rows by their number of tokens, the longest first."""
        if self.pads is None:
            return (Group(torch.arange(len(self), device=self.ids.device), 0),)
        kinds = sorted(set(self.pads.tolist()))
        return tuple(Group((self.pads == pad).nonzero()[:, 0], pad) for pad in kinds)


@dataclass(frozen=True)
class Group:
    """The numbers of the rows of a batch that have `pad` tokens of padding."""

    rows: Int[Tensor, " row"]
    pad: int

    def cut(self, x: Tensor, axes: Sequence[str], first: int = 0) -> Tensor:
        """These rows of an activation, without padding; its queries begin with position `first` of the batch."""
        x = x.index_select(0, self.rows.to(x.device))
        for axis, start in self._starts(axes, first):
            x = x.narrow(axis, start, x.shape[axis] - start)
        return x

    def put(self, x: Tensor, axes: Sequence[str], new: Tensor, first: int = 0) -> Tensor:
        """`x` with `new` in place of what `cut` gives; gradients flow through both."""
        where: list[slice | Tensor] = [slice(None)] * x.ndim
        where[0] = self.rows.to(x.device)
        for axis, start in self._starts(axes, first):
            where[axis] = slice(start, None)
        x = x.clone()
        x[tuple(where)] = new.to(x)
        return x

    def _starts(self, axes: Sequence[str], first: int) -> list[tuple[int, int]]:
        """Where tokens begin on each axis of positions."""
        starts = {POS: max(0, self.pad - first), QUERY: max(0, self.pad - first), KEY: self.pad}
        return [(axis, starts[name]) for axis, name in enumerate(axes) if starts.get(name)]


@dataclass(frozen=True)
class Stretch:
    """Which positions of `rows` are computed: from `first` on; up to `beyond` may still be written behind the prompts.

    `prompt` is the number of tokens of the prompts, padding included; all of `rows` where that is None.
    """

    rows: Rows
    first: int = 0
    beyond: int | None = None
    prompt: int | None = None

    @property
    def length(self) -> int:
        """The number of tokens of the prompts, padding included."""
        return self.rows.ids.shape[1] if self.prompt is None else self.prompt

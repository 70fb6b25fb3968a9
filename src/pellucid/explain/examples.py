"""Examples of what a part does, by how much it does there: what readers of any sort are shown.

From the strongest places, from the middle of those at which a part is active, from where it does little, and from
where it does nothing. No two of them end in the same three tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.explain.activity import ACTIVE, NOTHING

Quantile = Literal["top", "middle", "low", "nothing"]
BOUNDS: Final[dict[Quantile, tuple[float, float]]] = {
    "top": (0.5, float("inf")),
    "middle": (ACTIVE, 0.5),
    "low": (NOTHING, ACTIVE),
    "nothing": (float("-inf"), NOTHING),
}
"""Between which shares of the most that a part does each group lies."""
BEFORE: Final = 24
"""Tokens of an example before its last one, at most."""
ALIKE: Final = 3
"""Tokens at the end by which two examples are the same."""


@dataclass(frozen=True)
class Excerpt:
    """A stretch of text that ends at a place, and how much the part does at each of its tokens, from 0 to about 1."""

    quantile: Quantile
    ids: tuple[int, ...]
    values: tuple[float, ...]
    place: tuple[int, int]

    @property
    def value(self) -> float:
        """What the part does at the last token."""
        return self.values[-1]


def examples(
    ids: Int[Tensor, "row pos"], values: Float[Tensor, "row pos"], each: int, seed: int
) -> dict[Quantile, list[Excerpt]]:
    """`each` of every group at most: the strongest of the first one, of the others some drawn by `seed`."""
    flat = values.flatten()
    generator = torch.Generator().manual_seed(seed)
    found: dict[Quantile, list[Excerpt]] = {}
    seen: set[tuple[int, ...]] = set()
    for quantile, (low, high) in BOUNDS.items():
        within = torch.nonzero((flat >= low) & (flat < high))[:, 0]
        order = flat[within].argsort(descending=True, stable=True)
        if quantile != "top":
            order = torch.randperm(len(within), generator=generator)
        found[quantile] = list(_distinct(ids, values, within[order].tolist(), quantile, each, seen))
    return found


def _distinct(
    ids: Int[Tensor, "row pos"],
    values: Float[Tensor, "row pos"],
    places: Iterable[int],
    quantile: Quantile,
    each: int,
    seen: set[tuple[int, ...]],
) -> Iterator[Excerpt]:
    left = each
    for place in places:
        if not left:
            return
        example = example_at(ids, values, divmod(place, ids.shape[1]), quantile)
        end = example.ids[-ALIKE:]
        if end not in seen:
            seen.add(end)
            left -= 1
            yield example


def example_at(
    ids: Int[Tensor, "row pos"], values: Float[Tensor, "row pos"], place: tuple[int, int], quantile: Quantile
) -> Excerpt:
    """The example that ends at a place."""
    row, at = place
    first = max(0, at - BEFORE)
    own, does = ids[row, first : at + 1].tolist(), values[row, first : at + 1].tolist()
    return Excerpt(quantile, tuple(own), tuple(does), (row, at))

"""What explanations are scored on: places of held-out text where a part is active or does nothing.

Half of those at which it does nothing have the same token as one at which it is active, as far as there are such: who
says nothing but the token gains little by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.explain.activity import ACTIVE, NOTHING
from pellucid.explain.examples import ALIKE, Excerpt, example_at

EACH = 10
"""Places of each sort, at most."""


@dataclass(frozen=True)
class Item:
    """A place, and whether the part is active there. `alike`: it does nothing, on a token on which it is active too."""

    example: Excerpt
    active: bool
    alike: bool = False


def items_of(ids: Int[Tensor, "row pos"], values: Float[Tensor, "row pos"], seed: int, each: int = EACH) -> list[Item]:
    """`each` active places, half of them from the stronger half of their range if it can be, and as many idle ones.

    They come in an order drawn by `seed`, no two of a sort with the same end. A part that is nowhere active, or nowhere
    idle, has none.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(mask: Tensor, n: int, taken: set[tuple[int, ...]]) -> list[Excerpt]:
        places = torch.nonzero(mask.flatten())[:, 0]
        order = places[torch.randperm(len(places), generator=generator)].tolist()
        found: list[Excerpt] = []
        for place in order:
            if len(found) == n:
                break
            example = example_at(ids, values, divmod(place, ids.shape[1]), "nothing")
            if (end := example.ids[-ALIKE:]) not in taken:
                taken.add(end)
                found.append(example)
        return found

    ends: set[tuple[int, ...]] = set()
    strong, weak = values >= 0.5, (values >= ACTIVE) & (values < 0.5)
    active = [*drawn(strong, each // 2, ends), *drawn(weak, each - each // 2, ends)]
    active += [*drawn(strong, each - len(active), ends)]
    active += [*drawn(weak, each - len(active), ends)]
    idle, tokens = values < NOTHING, torch.tensor(sorted({example.ids[-1] for example in active}))
    alike = drawn(idle & torch.isin(ids, tokens), len(active) // 2, ends)
    others = drawn(idle, len(active) - len(alike), ends)
    found = [*(Item(one, active=True) for one in active), *(Item(one, active=False, alike=True) for one in alike)]
    found += [Item(one, active=False) for one in others]
    if not active or not (alike or others):
        return []
    return [found[at] for at in torch.randperm(len(found), generator=generator).tolist()]


def places(items: Sequence[Item]) -> tuple[list[int], list[int]]:
    """The rows and positions of items, to take numbers from."""
    return [item.example.place[0] for item in items], [item.example.place[1] for item in items]

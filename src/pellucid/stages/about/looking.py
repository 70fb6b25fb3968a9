"""Where a head looks from the places at which it acts: shares of its attention by token and by how far back it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.measure.record import record
from pellucid.stages.about.places import Places

ASKED = 64
"""Places of every head whose attention is looked at."""
NOWHERE = -1
"""In the place of a token: the head looks at the first place of the row, where most heads look for want of better."""


@dataclass(frozen=True)
class Looking:
    """Where a head looks, its places weighed by effect; all shares are of its attention there.

    `tokens` are looked at, `NOWHERE` standing for the first place of a row; `steps` says how many tokens back. `same`
    is the share on earlier occurrences of the token at the place itself, `after` on what followed such an occurrence.
    `most` has, for each of the places that were looked at, the token that it attends to most.
    """

    tokens: dict[int, float]
    steps: dict[int, float]
    same: float
    after: float
    most: dict[int, int]


def where_heads_look(
    model: Model, rows: Int[Tensor, "row pos"], places: Mapping[str, Places]
) -> dict[tuple[str, int], Looking]:
    """For every head (`L00.z` and its number) where it looks from its strongest places."""
    asked = {(name, head): found.at[:ASKED, head].tolist() for name, found in places.items() if name.endswith(".z")
             for head in range(found.at.shape[1])}  # fmt: skip
    sums = {key: _Sums() for key in asked}
    layers = sorted({name.partition(".")[0] for name, _ in asked})
    start, length = 0, rows.shape[1]
    for batch in record(model, rows, [f"{layer}.pattern" for layer in layers]):
        end = start + batch.ids.numel()
        for (name, head), wanted in asked.items():
            pattern = batch.values[f"{name.partition('.')[0]}.pattern"]
            for rank, place in enumerate(wanted):
                if start <= place < end:
                    row, at = divmod(place - start, length)
                    weight = float(places[name].effect[rank, head])
                    sums[name, head].add(place, batch.ids[row, : at + 1], pattern[row, head, at, : at + 1], weight)
        start = end
    return {key: total.looking() for key, total in sums.items()}


class _Sums:
    """Sums over places of one head, each weighed by its effect."""

    def __init__(self) -> None:
        self.tokens: dict[int, float] = defaultdict(float)
        self.steps: dict[int, float] = defaultdict(float)
        self.same = self.after = self.weight = 0.0
        self.most: dict[int, int] = {}

    def add(self, place: int, ids: Int[Tensor, " key"], pattern: Float[Tensor, " key"], weight: float) -> None:
        """Take in one place: the tokens up to it, and how much it attends to each."""
        here, last = int(ids[-1]), len(ids) - 1
        for key, share in _seen(pattern):
            token = NOWHERE if key == 0 and last > 0 else int(ids[key])
            self.tokens[token] += weight * share
            self.steps[last - key] += weight * share
            self.same += weight * share * (int(ids[key]) == here and key < last)
            self.after += weight * share * (key > 0 and int(ids[key - 1]) == here)
        self.most[place] = int(ids[int(pattern.argmax())])
        self.weight += weight

    def looking(self) -> Looking:
        """What the sums come to."""
        whole = max(self.weight, 1e-30)
        tokens, steps = ({key: held / whole for key, held in sums.items()} for sums in (self.tokens, self.steps))
        return Looking(tokens, steps, self.same / whole, self.after / whole, self.most)


def _seen(pattern: Float[Tensor, " key"]) -> Iterator[tuple[int, float]]:
    """The keys that get more than a thousandth of a place's attention."""
    for key in torch.nonzero(pattern > 1e-3)[:, 0].tolist():
        yield key, float(pattern[key])


def strongest(shares: Mapping[int, float], most: int, of_all: float = 0.9) -> Sequence[int]:
    """The largest of `shares`, at most so many, until they make up `of_all` of their sum."""
    chosen: list[int] = []
    left = of_all * sum(shares.values())
    for key, share in sorted(shares.items(), key=lambda entry: (-entry[1], entry[0])):
        if len(chosen) == most or left <= 0 or share <= 0:
            break
        chosen.append(key)
        left -= share
    return chosen

"""Where parts act: the places of a text at which what a part does there, beside its mean, changes predictions most.

The effect of a part at a place is (g · δ)², δ being its mean output less its own and g a draw of the gradient of
predictions there (`match/effect.py` has the derivation). Only the largest places of every part are kept, so that memory
does not grow with text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.match.record import Recording, record

KEPT = 192
"""Places that are kept of every part."""


@dataclass(frozen=True)
class Places:
    """The places where each of some parts acts most, the strongest first.

    `effect` is what is felt there, `at` the place counted through all rows, `above` whether the part does more there
    than on average (for heads always true), and `total` sums the effect over all places of the text, not only those.
    """

    effect: Float[Tensor, "place part"]
    at: Int[Tensor, "place part"]
    above: Float[Tensor, "place part"]
    total: Float[Tensor, " part"]

    def share(self) -> Float[Tensor, "place part"]:
        """The share of each part's whole effect that is felt at each place; zero for a part without any."""
        return self.effect / self.total.clamp(min=1e-30)


def acting_places(
    model: Model, rows: Int[Tensor, "row pos"], means: Mapping[str, Tensor], seed: int = 0
) -> dict[str, Places]:
    """The places of every head (`L00.z`) and neuron (`L00.post`) on `rows`.

    `means` are the mean activations of the same names, [head, dim] and [neuron].
    """
    names = sorted(name for name in means if name.endswith((".z", ".post")))
    found: dict[str, Places] = {}
    start = 0
    for batch in record(model, rows, names, gradients=names, seed=seed):
        for name in names:
            new = _of_batch(batch, name, means[name].to(model.device), start)
            found[name] = _joined(found[name], new) if name in found else new
        start += batch.ids.numel()
    return found


def _of_batch(batch: Recording, name: str, mean: Tensor, start: int) -> Places:
    """The places of one batch, whose first place is number `start` of the text."""
    moved, gradient = mean - batch.values[name], batch.gradients[0][name]
    felt = (moved * gradient).flatten(0, 1)
    heads = name.endswith(".z")
    felt = (felt.sum(-1) if heads else felt).square()
    effect, at = felt.topk(min(KEPT, len(felt)), dim=0)
    above = torch.ones_like(effect) if heads else (moved.flatten(0, 1).gather(0, at) < 0).float()
    return Places(effect, at + start, above, felt.sum(0))


def _joined(one: Places, other: Places) -> Places:
    """The strongest places of both."""
    effect = torch.cat([one.effect, other.effect])
    at, above = torch.cat([one.at, other.at]), torch.cat([one.above, other.above])
    effect, chosen = effect.topk(min(KEPT, len(effect)), dim=0)
    return Places(effect, at.gather(0, chosen), above.gather(0, chosen), one.total + other.total)

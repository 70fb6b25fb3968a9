"""Features that fire as lists of entries: encoders and decoders touch the rows of those alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Entries:
    """Which features fire at which places, sorted by places, and how far."""

    place: Int[Tensor, " entry"]
    feature: Int[Tensor, " entry"]
    value: Float[Tensor, " entry"]
    places: int

    def decoded(self, vectors: Float[Tensor, "feature write"]) -> Float[Tensor, "place write"]:
        """The sum of what features write at each place."""
        counts = torch.bincount(self.place, minlength=self.places)
        starts = counts.cumsum(0) - counts
        return F.embedding_bag(self.feature, vectors, starts, mode="sum", per_sample_weights=self.value)

    def where(self, chosen: Bool[Tensor, " entry"]) -> Entries:
        """Those that are chosen."""
        return Entries(self.place[chosen], self.feature[chosen], self.value[chosen], self.places)


class _Read(torch.autograd.Function):
    """The values of chosen entries of x · encoderᵀ + bias, whose gradient reaches the rows of those entries alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, encoder: Tensor, bias: Tensor, before: Tensor, place: Tensor, feature: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, place, feature)
        ctx.width = len(encoder), len(bias)
        return before[place, feature]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, place, feature = ctx.saved_tensors
        width = ctx.width[0]
        spread = torch.sparse_coo_tensor(torch.stack([feature, place]), grad, (width, len(x)), check_invariants=False)
        return None, torch.sparse.mm(spread, x), grad.new_zeros(width).index_add_(0, feature, grad), None, None, None


def read_entries(
    x: Float[Tensor, "place read"],
    encoder: Float[Tensor, "feature read"],
    bias: Float[Tensor, " feature"],
    before: Float[Tensor, "place feature"],
    place: Int[Tensor, " entry"],
    feature: Int[Tensor, " entry"],
) -> Float[Tensor, " entry"]:
    """What `before` (x · encoderᵀ + bias) has at entries; gradients reach `encoder` and `bias`."""
    found: Tensor = _Read.apply(x, encoder, bias, before, place, feature)  # type: ignore[no-untyped-call]
    return found


class _Jump(torch.autograd.Function):
    """before · (before > threshold) and (before > threshold), with straight-through gradients for the threshold."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
        fires = before > threshold
        ctx.save_for_backward(before, threshold, fires)
        ctx.bandwidth = bandwidth
        return before * fires, fires.to(before)

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor, grad_step: Tensor) -> tuple[Tensor | None, ...]:
        before, threshold, fires = ctx.saved_tensors
        near = ((before - threshold).abs() < ctx.bandwidth / 2).to(before) / ctx.bandwidth
        return grad_value * fires, -near * (threshold * grad_value + grad_step), None


def jumped(
    before: Float[Tensor, " entry"], threshold: Float[Tensor, " entry"], bandwidth: float
) -> tuple[Float[Tensor, " entry"], Float[Tensor, " entry"]]:
    """How far features fire above their thresholds, and whether; thresholds learn from entries within `bandwidth`."""
    value, fires = _Jump.apply(before, threshold, bandwidth)  # type: ignore[no-untyped-call]
    return value, fires

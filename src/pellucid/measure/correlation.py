"""Correlations of values and of ranks: equal values share the mean of their ranks, constants correlate with nothing."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pearson(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float | None:
    """The correlation of values; None where either is constant, not finite, or has fewer than three of them."""
    pair = torch.stack([x, y]).double()
    if pair.shape[1] < 3 or not bool(pair.isfinite().all()) or bool((pair == pair[:, :1]).all(1).any()):
        return None
    centred = pair - pair.mean(1, keepdim=True)
    sizes = centred.abs().amax(1, keepdim=True)
    if not bool((sizes > 0).all()):
        return None
    scaled = centred / sizes  # so that squares of small numbers do not vanish
    scaled = scaled / scaled.norm(dim=1, keepdim=True)
    return max(-1.0, min(1.0, float(scaled[0] @ scaled[1])))


def spearman(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float | None:
    """The correlation of ranks; None as for `pearson`."""
    return pearson(ranks(x), ranks(y))


def ranks(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks from 1; equal values have the mean of theirs. What is no number stays so."""
    _, place, count = x.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    last = count.cumsum(0).double()
    found: Tensor = (last - (count - 1) / 2)[place]
    return torch.where(x.isnan(), torch.nan, found)

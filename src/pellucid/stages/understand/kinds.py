"""Kinds of tokens to begin with: directions of the token embedding, turned so that few tokens stand out in each."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_TURNS = 60


def first_kinds(
    embedding: Float[Tensor, "vocab model"], ids: Int[Tensor, "row pos"], count: int
) -> Float[Tensor, "vocab kind"]:
    """`count` kinds with variance 1 over the tokens of `ids`: leading principal directions, turned by varimax.

    Varimax (Kaiser, Psychometrika 1958) turns a basis without changing what it spans, until each coordinate is large
    for few items and small for all others.
    """
    frequency = torch.bincount(ids.flatten(), minlength=len(embedding)).double().to(embedding.device) + 1
    frequency /= frequency.sum()
    centred = embedding.double() - frequency @ embedding.double()
    axes = torch.linalg.svd(centred * frequency.sqrt()[:, None], full_matrices=False).Vh[:count]
    along = centred @ axes.T
    along /= (frequency @ along.square()).sqrt()
    turned: Tensor = along @ varimax(along * frequency.sqrt()[:, None])
    return turned.to(embedding.dtype)


def varimax(loadings: Float[Tensor, "item direction"]) -> Float[Tensor, "direction turned"]:
    """The rotation that makes the squared `loadings` of every direction vary most."""
    turn = torch.eye(loadings.shape[1], dtype=loadings.dtype, device=loadings.device)
    for _ in range(_TURNS):
        turned = loadings @ turn
        slope = loadings.T @ (turned**3 - turned * turned.square().mean(0))
        left, _, right = torch.linalg.svd(slope)
        turn = left @ right
    return turn

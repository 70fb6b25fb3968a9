"""Sparse least squares: which few terms say nearly as much as all of them, every number at its price."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_ROUNDS = 10


def sparse_least_squares(
    squares: Float64[Tensor, "term term"],
    products: Float64[Tensor, "term target"],
    price: Float64[Tensor, " term"],
    weight: Float64[Tensor, " target"],
    allowed: float,
    ridge: float = 1e-4,
) -> Float64[Tensor, "term target"]:
    """Coefficients of `target`s as sums of terms, at most `allowed` of `price` in all; terms of price 0 always stay.

    `squares` are XᵀX and `products` XᵀY. Starting from all terms, those go first whose loss raises the squared error
    least for its price, `weight`ed by target, w² / (2 [H⁻¹]) (optimal brain surgeon; Hassibi & Stork, NeurIPS 1992),
    in rounds after each of which all that are left are solved for anew.
    """
    damped = squares + ridge * squares.diagonal().mean() * torch.eye(len(squares)).to(squares)
    kept = torch.ones_like(products, dtype=torch.bool)
    prices = price[:, None].expand_as(products)
    whole = float(prices.sum())
    found, spread = _solve(damped, products, kept)
    for round in range(_ROUNDS if whole > allowed else 0):
        limit = whole * (allowed / whole) ** ((round + 1) / _ROUNDS)
        worth = found.square() / spread * weight / prices.clamp(min=1e-9)
        worth = worth.masked_fill(prices == 0, torch.inf).masked_fill(~kept, -1.0)
        order = worth.flatten().argsort(descending=True)
        stays = torch.zeros_like(order, dtype=torch.bool)
        stays[order] = (prices * kept).flatten()[order].cumsum(0) <= limit
        kept = kept & stays.reshape(kept.shape)
        found, spread = _solve(damped, products, kept)
    return found


def _solve(
    squares: Float64[Tensor, "term term"], products: Float64[Tensor, "term target"], kept: Bool[Tensor, "term target"]
) -> tuple[Float64[Tensor, "term target"], Float64[Tensor, "term target"]]:
    """The best coefficients of the terms that are kept, target by target, and the diagonals of the inverses."""
    if bool(kept.all()):
        inverse = torch.linalg.inv(squares)
        return inverse @ products, inverse.diagonal()[:, None].expand_as(products)
    found, spread = torch.zeros_like(products), torch.ones_like(products)
    for target in range(products.shape[1]):
        at = kept[:, target].nonzero()[:, 0]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(squares[at][:, at]))
        found[at, target] = inverse @ products[at, target]
        spread[at, target] = inverse.diagonal()
    return found, spread

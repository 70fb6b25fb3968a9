"""Guesses of few terms: the lasso, for many values over the same terms at once (Tibshirani, J. R. Stat. Soc. B 1996).

Terms overlap: kinds of a token, what heads see of them, what neurons fire. Least squares lets large numbers cancel each
other, none of which can then be left out. Paying for the size of every number keeps to those that do something.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

STEPS = 80
AFTER = 40
"""Steps without price at the end, of the numbers that are left, which it had kept too small."""
ADJUST = 4
"""How often the price of a number is brought nearer to what leaves as many as are wanted: every so many steps."""
_RARE = 1e-4
"""Terms that do less than this share of what a term does on average are kept small: little text speaks of them."""


def sparse_guesses(
    squares: Float64[Tensor, "term term"],
    products: Float64[Tensor, "term value"],
    worth: Float[Tensor, " value"],
    price: Float[Tensor, " term"],
    most: float,
) -> Float[Tensor, "term value"]:
    """W that minimises ½ Σ worth ‖T W − V‖² plus what its numbers cost, given TᵀT and TᵀV.

    A value that guesses worse than nothing says nothing. `most` is about what all its numbers may cost by `price`. By
    accelerated proximal gradient (FISTA; Beck & Teboulle, SIAM J. Imaging Sci. 2009), in units in which terms have
    about length one; the price is found on the way.
    """
    length = (squares.diagonal() + _RARE * squares.diagonal().mean()).sqrt()
    gram = (squares / length / length[:, None]).float()
    target = (products / length[:, None]).float()
    pay = price[:, None].to(gram) / worth.to(gram).clamp(min=_RARE * float(worth.max()))
    rate = 1 / _largest(gram)
    toll = float((target.abs() / pay).max()) / 10
    found = ahead = torch.zeros_like(target)
    momentum, kept = 1.0, torch.ones_like(target)
    for step in range(STEPS + AFTER):
        if step == STEPS:
            ahead, momentum, toll, kept = found, 1.0, 0.0, (found != 0).to(found)
        moved = kept * (ahead - rate * (gram @ ahead - target))
        new = moved.sign() * (moved.abs() - rate * toll * pay).clamp(min=0)
        after = (1 + (1 + 4 * momentum * momentum) ** 0.5) / 2
        ahead = new + (momentum - 1) / after * (new - found)
        found, momentum = new, after
        if step < STEPS and step % ADJUST == ADJUST - 1:
            cost = float((price[:, None].to(gram) * (found != 0)).sum())
            toll *= min(2.0, max(0.5, (cost + 1) / (most + 1))) ** 0.5
    loss = (found * (gram @ found - 2 * target)).sum(0)
    return torch.where(loss <= 0, found / length[:, None], 0.0).to(price)


def _largest(gram: Float[Tensor, "term term"]) -> float:
    """The largest eigenvalue, from above by a little."""
    vector = torch.ones(len(gram), 1, device=gram.device, dtype=gram.dtype)
    for _ in range(20):
        vector = gram @ vector
        vector = vector / vector.norm()
    return 1.05 * float((gram @ vector).norm())

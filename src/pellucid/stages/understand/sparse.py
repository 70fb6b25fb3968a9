"""Guesses of few terms, found greedily, for many values over the same terms at once.

Terms overlap: kinds of a token, what heads see of them, what neurons fire. Least squares over all of them lets large
numbers cancel each other, none of which can then be left out. So terms are taken a few at a time, those first that say
most of what is still unsaid for what they cost, and all that were taken are fitted anew (orthogonal matching pursuit;
Pati, Rezaiifar & Krishnaprasad, Asilomar 1993; several at once as in Donoho et al., IEEE Trans. Inf. Theory 2012).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROUNDS = 24
"""How often terms are taken; after n of these rounds the square of n / ROUNDS of the whole cost is spent."""
RIDGE = 1e-3
"""What is added to the squared length of every term, as a share of it, so that those that overlap do not cancel."""
_RARE = 1e-4
"""Terms that do less than this share of what a term does on average are kept small: little text speaks of them."""


def sparse_guesses(
    squares: Float[Tensor, "term term"],
    products: Float[Tensor, "term value"],
    worth: Float[Tensor, " value"],
    price: Float[Tensor, " term"],
    most: float,
) -> Float[Tensor, "term value"]:
    """W with few numbers and a small Σ worth ‖T W − V‖², given TᵀT and TᵀV.

    All its numbers together cost at most `most` by `price`. A value that guesses worse than nothing says nothing.
    """
    length = lengths(squares.diagonal())
    gram = squares / length / length[:, None]
    gram.diagonal().add_(RIDGE)
    target, pay = products / length[:, None], price[:, None].to(products)
    gains = worth.to(products).clamp(min=0) / pay
    found, taken = torch.zeros_like(target), torch.zeros_like(target, dtype=torch.bool)
    for number in range(1, ROUNDS + 1):
        gain = (target - said(gram, found)).square() * gains
        take(taken, gain, pay, most * (number / ROUNDS) ** 2)
        found = fitted(gram, target, taken)
    loss = (found * (said(gram, found) - 2 * target)).sum(0)
    return torch.where(loss <= 0, found / length[:, None], 0.0).to(price)


def lengths(squares: Float[Tensor, " term"]) -> Float[Tensor, " term"]:
    """How long terms are, given their summed squares; those that hardly do anything count as longer."""
    return (squares + _RARE * squares.mean()).sqrt()


def said(gram: Float[Tensor, "term term"], found: Float[Tensor, "term value"]) -> Float[Tensor, "term value"]:
    """`gram` times `found`, of which most rows may be zero."""
    used = found.any(1).nonzero()[:, 0]
    return gram @ found if 2 * len(used) > len(gram) else gram[:, used] @ found[used]


def take(
    taken: Bool[Tensor, "term value"],
    gain: Float[Tensor, "term value"],
    pay: Float[Tensor, "term 1"],
    most: float,
) -> None:
    """Add to what is `taken` whatever promises most `gain` for its price, until all of it costs `most`."""
    free = most - float((pay * taken).sum())
    count = min(gain.numel(), int(max(0.0, free) / float(pay.min())))
    promised, order = gain.masked_fill(taken, 0.0).flatten().topk(count)
    cost = pay.expand_as(gain).flatten()[order].cumsum(0)
    taken.view(-1)[order[(cost <= free) & (promised > 0)]] = True


def fitted(
    gram: Float[Tensor, "term term"], target: Float[Tensor, "term value"], taken: Bool[Tensor, "term value"]
) -> Float[Tensor, "term value"]:
    """The least squares of every value over what is `taken` for it."""
    found = torch.zeros_like(target)
    for value in range(target.shape[1]):
        terms = taken[:, value].nonzero()[:, 0]
        root = torch.linalg.cholesky(gram[terms][:, terms].double())
        found[terms, value] = torch.cholesky_solve(target[terms, value, None].double(), root)[:, 0].to(found)
    return found

"""Guesses of few terms: they find what there is, and no more of it than is paid for."""

from __future__ import annotations

import torch

from pellucid.stages.understand.sparse import sparse_guesses

TERMS, VALUES = 60, 3


def text() -> tuple[torch.Tensor, torch.Tensor]:
    """Terms of which half are almost copies of the others, and values that are sums of two terms each."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(4000, TERMS // 2, generator=generator, dtype=torch.float64)
    terms = torch.cat([first, first + 0.05 * torch.randn(first.shape, generator=generator, dtype=torch.float64)], 1)
    weight = torch.zeros(TERMS, VALUES, dtype=torch.float64)
    weight[0, 0], weight[5, 0], weight[7, 1], weight[9, 1], weight[11, 2], weight[2, 2] = 1.0, -0.5, 2.0, 1.0, -1.0, 0.7
    return terms, terms @ weight


def found(most: float, price: torch.Tensor, worth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    terms, wanted = text()
    weight = sparse_guesses(terms.T @ terms, terms.T @ wanted, worth, price, most)
    left = (terms @ weight.double() - wanted).square().mean(0) / wanted.square().mean(0)
    return weight, left


def test_few_terms_are_found_among_copies() -> None:
    weight, left = found(24.0, torch.full((TERMS,), 2.0), torch.ones(VALUES))
    assert 2 * int((weight != 0).sum()) <= 36
    assert left.max() < 0.1
    assert weight.abs().max() < 4


def test_more_is_spent_where_it_is_worth_more() -> None:
    price = torch.ones(TERMS)
    _, even = found(3.0, price, torch.ones(VALUES))
    _, other = found(3.0, price, torch.tensor([50.0, 0.1, 0.1]))
    assert other[0] < even[0]
    assert other[1] > even[1]


def test_dear_terms_are_avoided() -> None:
    """Where each has a copy that costs a third, less than half of what they said is left to them."""
    dear = torch.ones(TERMS)
    dear[: TERMS // 2] = 3.0
    (even, _), (other, left) = (found(12.0, price, torch.ones(VALUES)) for price in (torch.ones(TERMS), dear))
    said = [weight[: TERMS // 2].abs().sum() for weight in (even, other)]
    assert said[1] < 0.5 * said[0]
    enough, _ = found(6.0, dear, torch.ones(VALUES))
    assert enough[TERMS // 2 :].abs().sum() > 3 * enough[: TERMS // 2].abs().sum()
    assert left.max() < 0.3


def test_terms_that_say_nothing_or_the_same_are_no_harm() -> None:
    terms, wanted = text()
    terms[:, 10:20], terms[:, 40:50] = 0.0, terms[:, :1]
    weight = sparse_guesses(terms.T @ terms, terms.T @ wanted, torch.tensor([1.0, 0.0, -1e-9]), torch.ones(TERMS), 40.0)
    assert weight.isfinite().all()
    left = (terms @ weight.double() - wanted).square().mean(0)
    assert (left <= wanted.square().mean(0)).all()

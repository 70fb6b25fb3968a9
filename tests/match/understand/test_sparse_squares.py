"""Sparse least squares: finds planted terms, keeps to what is allowed, spends it where it is worth most."""

from __future__ import annotations

import torch

from pellucid.match.understand.sparse import sparse_least_squares


def problem(noise: float = 0.01) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated terms [2000, 12], targets [2000, 3] that sum two of them each, and the planted coefficients."""
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(2000, 12, generator=generator, dtype=torch.double)
    terms = terms + 0.8 * terms.roll(1, 1)
    planted = torch.zeros(12, 3, dtype=torch.double)
    planted[[1, 4, 5], [0, 1, 2]] = 1.0
    planted[[7, 9, 2], [0, 1, 2]] = -0.6
    return terms, terms @ planted + noise * torch.randn(2000, 3, generator=generator, dtype=torch.double), planted


def solve(allowed: float, price: torch.Tensor | None = None, weight: torch.Tensor | None = None) -> torch.Tensor:
    terms, targets, _ = problem()
    price = torch.full((12,), 2.0, dtype=torch.double) if price is None else price
    weight = torch.ones(3, dtype=torch.double) if weight is None else weight
    return sparse_least_squares(terms.T @ terms, terms.T @ targets, price, weight, allowed, ridge=0.0)


def test_planted_terms_are_found() -> None:
    found, planted = solve(12.0), problem()[2]
    assert ((found != 0) == (planted != 0)).all()
    torch.testing.assert_close(found, planted, atol=2e-3, rtol=0)


def test_with_room_for_all_it_is_least_squares() -> None:
    terms, targets, _ = problem()
    torch.testing.assert_close(solve(1e9), torch.linalg.lstsq(terms, targets).solution)


def test_it_keeps_to_what_is_allowed_and_spends_it_where_it_is_worth_most() -> None:
    found = solve(4.0, weight=torch.tensor([1.0, 100.0, 1.0], dtype=torch.double))
    assert int((found != 0).sum()) <= 2
    assert found[4, 1] != 0
    dear = torch.full((12,), 2.0, dtype=torch.double)
    dear[7] = 50.0
    assert solve(12.0, dear)[7, 0] == 0


def test_what_costs_nothing_stays() -> None:
    free = torch.full((12,), 2.0, dtype=torch.double)
    free[0] = 0.0
    assert (solve(0.0, free)[0] != 0).all()
    assert (solve(0.0, free)[1:] == 0).all()

"""Fit text that strays."""

from __future__ import annotations

import torch

from pellucid.stages.understand.stray import MOST, strayed

ROWS = torch.full((400, 64), 7)


def test_so_many_rows_stray_and_no_first_token_does() -> None:
    found = strayed(ROWS, 1000, 0.3, seed=1)
    touched = (found != ROWS).any(1).float().mean()
    assert 0.2 < touched < 0.4
    assert (found[:, 0] == 7).all()
    assert 0 <= int(found.min()) <= int(found.max()) < 1000


def test_half_of_the_largest_share_of_tokens_is_random_and_some_come_in_runs() -> None:
    random = strayed(ROWS, 1000, 1.0, seed=1) != ROWS
    assert 0.7 * MOST / 2 < random.float().mean() < 1.1 * MOST / 2
    alone = strayed(ROWS, 1000, 1.0, seed=1)[:, 1:] != 7
    after = alone[:, 1:][alone[:, :-1]].float().mean()  # how often a random token follows one
    assert after > 1.5 * random.float().mean()


def test_the_same_seed_strays_alike_and_no_share_leaves_rows_alone() -> None:
    assert torch.equal(strayed(ROWS, 1000, 0.5, seed=2), strayed(ROWS, 1000, 0.5, seed=2))
    assert not torch.equal(strayed(ROWS, 1000, 0.5, seed=2), strayed(ROWS, 1000, 0.5, seed=3))
    assert torch.equal(strayed(ROWS, 1000, 0.0, seed=2), ROWS)

"""Slips: counted over all words, or until it is certain that there are too many."""

from __future__ import annotations

import torch

from checkpoints import random_model
from pellucid.forms.twin import Twin
from pellucid.stages.link.rollouts import Rollouts, Slips, slips


class Said(Twin):
    """A program that says the tokens it is given, but for those of some rows, and counts how often it is asked."""

    def __init__(self, wrong: set[int]) -> None:
        super().__init__(random_model(0)[0], [])
        self.wrong, self.asked = wrong, 0

    def logits(self, ids: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        said = ids[:, 1:].clone()
        said = torch.cat([said, torch.full_like(ids[:, :1], 7)], 1)
        for row in range(len(ids)):
            if int(ids[row, 0]) in self.wrong:
                said[row, 1] = 0
        self.asked += 1
        return torch.nn.functional.one_hot(said, 40).float()


def rollouts(rows: int) -> list[Rollouts]:
    """Contexts of two tokens, the first of which numbers the row, with three words behind them."""
    ids = torch.full((rows, 5), 7)
    ids[:, 0] = torch.arange(rows)
    return [Rollouts(ids, 2, torch.arange(3).expand(rows, -1))]


def test_it_is_given_up_where_there_are_too_many_whatever_comes() -> None:
    """Of 20 contexts of 3 words, 5 slip at their first word: 25 % of next words and of all."""
    bad = Said({1, 2, 3, 4, 5})
    whole = slips(bad, rollouts(20), batch=4)
    assert whole == Slips(25.0, 25.0, 20)
    assert bad.asked == 5
    bad.asked = 0
    given_up = slips(bad, rollouts(20), batch=4, hopeless=lambda found: found.wer_16 > 10)
    assert given_up == Slips(15.0, 15.0, 20, whole=False)
    assert bad.asked == 1
    bad.asked = 0
    assert slips(bad, rollouts(20), batch=4, hopeless=lambda found: found.wer_16 > 25) == whole
    assert bad.asked == 5

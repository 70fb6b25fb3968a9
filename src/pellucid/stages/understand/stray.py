"""Fit text that strays: rows in which runs of tokens are random ones, so that sources also learn what text lacks.

A subject answers to every token, but fit text tells of most tokens only in few company. What it predicts after random
ones is as much its own, and costs no text (cf. distillation on transfer sets that need not be natural, Hinton et al.,
arXiv 1503.02531).
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

MOST = 0.5
"""At most about so many tokens of a row are random, in most rows fewer."""
LONGEST = 4
"""The longest run of random tokens that begins at one place."""


def strayed(rows: Int[Tensor, "row pos"], vocab: int, share: float, seed: int) -> Int[Tensor, "row pos"]:
    """`rows`, about `share` of them with random tokens among their own; first tokens stay."""
    generator = torch.Generator().manual_seed(seed)
    touched = torch.rand(len(rows), 1, generator=generator) < share
    often = 2 * MOST / (1 + LONGEST) * torch.rand(len(rows), 1, generator=generator)
    begins = touched & (torch.rand(rows.shape, generator=generator) < often)
    lengths = torch.randint(1, LONGEST + 1, rows.shape, generator=generator)
    foreign = torch.randint(vocab, rows.shape, generator=generator)
    random = torch.zeros_like(begins)
    for steps in range(min(LONGEST, rows.shape[1])):
        random[:, steps:] |= (begins & (lengths > steps))[:, : rows.shape[1] - steps]
    random[:, 0] = False
    return torch.where(random, foreign.to(rows), rows)

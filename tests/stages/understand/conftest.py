"""A small random model and rows of its tokens."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.exact.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(3, n_head=2, n_embd=16, n_positions=24, n_inner=12, vocab_size=40)[0]


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.randint(40, (120, 24), generator=torch.Generator().manual_seed(0))

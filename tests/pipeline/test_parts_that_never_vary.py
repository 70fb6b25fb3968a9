"""Parts that never vary, and streams with few directions, go through every fit, with figures that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import checkpoints
from cli_support import Workshop, lean, pellucid, text_file

Weights = dict[str, torch.Tensor]


def still(weights: Weights) -> None:
    """A layer whose heads and neurons do the same everywhere, beside neurons and a head that are cut off."""
    for name in ("ln_1", "ln_2"):
        weights[f"transformer.h.1.{name}.weight"].zero_()
    weights["transformer.h.0.attn.c_attn.weight"][:, :4] = 0.0  # queries of the first head
    weights["transformer.h.0.mlp.c_fc.weight"][:, :6] = 0.0
    weights["transformer.h.0.mlp.c_proj.weight"][6:12] = 0.0


def along_one_line(weights: Weights) -> None:
    """Tokens and positions that lie on one line each: whatever is fitted to the stream has singular moments."""
    for name in ("wte", "wpe"):
        table = weights[f"transformer.{name}.weight"]
        table.copy_(table[:, :1] * torch.linspace(-1, 1, table.shape[1]))


@pytest.mark.parametrize("change", [still, along_one_line])
def test_all_stages_end_with_numbers(tmp_path: Path, change: Callable[[Weights], None]) -> None:
    model = checkpoints.hugging_face(n_embd=8)
    change(model.state_dict())
    workshop = Workshop(tmp_path)
    checkpoints.write(workshop.subject, model)
    text_file(workshop.text)
    how = ("--corpus", workshop.text, "--quick", "--size", "large", "--gate", "next", "--json")
    with lean(tmp_path / "state"):
        answer = pellucid("decompile", workshop.subject, "-o", workshop.made, *how, "--tune", 0.02, "--understand", 20)
    assert answer.code == 0, answer.err
    found = answer.json  # refuses what is no number
    assert found["full"]["overall"]["kl"]["value"] < 0.1
    assert found["source_only"]["overall"]["kl"]["value"] >= 0

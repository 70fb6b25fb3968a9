"""What a write is foretold to do on every family: the slope of the logits where heads look as they did."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import families
from pellucid.exact.model import Model
from pellucid.rewrite.predict import WriteStart, carried, needed

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1]])


@pytest.fixture(scope="module", params=families.KINDS)
def model(request: pytest.FixtureRequest) -> Model:
    return families.deep(request.param, smooth=True)


@pytest.mark.parametrize("before_neurons", [True, False])
def test_a_small_write_moves_logits_as_foretold(model: Model, before_neurons: bool) -> None:
    start = WriteStart(0, before_neurons)
    before = model.run(IDS, tuple(needed(model, start)))
    patterns = model.run(IDS, tuple(model.graph.names("L*.pattern")))
    write = 1e-4 * torch.randn(2, 7, model.decoder.sizes.model, generator=torch.Generator().manual_seed(0)).double()
    where = "L00.attn_out" if before_neurons else "L00.mlp_out"

    def run(sign: float) -> Tensor:
        edits = {name: (lambda _, held=held: held) for name, held in patterns.items()}
        edits[where] = lambda x: x + sign * write
        return model.run(IDS, ("logits",), edits=edits)["logits"]

    expected = (run(1) - run(-1)) / 2
    for bent in (False, True):
        found = carried(model, dict(before), start, write, bent=bent)
        difference = float((found - expected).norm() / expected.norm())
        assert difference < 0.01, (bent, difference)

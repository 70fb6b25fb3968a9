"""Path patching on every family: what an embedding says to a head, to what a group of heads shares, and to a neuron."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import families
import pellucid
from pellucid.exact.model import Model

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1]])
OTHERS = torch.tensor([[6, 2, 6, 4, 3, 3, 8], [5, 7, 7, 2, 1, 5, 6]])
HEARD = {"H00.QK": "scores", "H00.OV": "values", "q": "q", "k": "k", "v": "v"}
MLP = {"N0001.IN": "pre", "up": "up", "post": "post"}
GROUPS = {"G00.K": "k", "G00.V": "v"}


@pytest.fixture(scope="module", params=families.KINDS)
def model(request: pytest.FixtureRequest) -> Model:
    return families.deep(request.param)


def own(heard: Tensor, plain: Tensor, receiver: str) -> Tensor:
    """What is heard in the place of what is received; all else as it was."""
    found = plain.clone()
    if receiver in ("H00.QK", "H00.OV"):
        found[:, 0] = heard[:, 0]
    elif receiver == "N0001.IN":
        found[..., 1] = heard[..., 1]
    elif receiver in GROUPS:
        found[:, :, 0] = heard[:, :, 0]
    else:
        found = heard
    return found


def test_what_an_embedding_says_to_each_reader(model: Model) -> None:
    metric = pellucid.logit_difference(model, 3, 5)
    said = [model.run(ids, ("EMB.TOK",))["EMB.TOK"] for ids in (OTHERS, IDS)]
    there = HEARD | MLP | (GROUPS if model.decoder.grouped else {})
    for receiver, name in there.items():
        if f"L01.{name}" not in model.graph:
            continue
        found = pellucid.path_patch(model, IDS, OTHERS, metric, "EMB.TOK", f"L01.{receiver}")
        name = f"L01.{name}"

        def put(x: Tensor) -> Tensor:
            return x + said[0] - said[1]

        middle = "L01.resid_pre" if model.decoder.blocks[0].parallel else "L01.resid_mid"
        read = middle if receiver in MLP else "L01.resid_pre"  # its own layer's heads keep what they wrote
        heard = model.run(IDS, (name,), edits={read: put})[name]
        plain = model.run(IDS, (name,))[name]
        changed = own(heard, plain, receiver)
        logits = model.run(IDS, ("logits",), edits={name: lambda _, changed=changed: changed})["logits"][:, -1]
        torch.testing.assert_close(
            found.values.double(), logits[:, 3] - logits[:, 5], rtol=1e-4, atol=1e-5, msg=receiver
        )

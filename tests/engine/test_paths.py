"""Path patching: paths of a split add up where they are linear, and lead only upwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import logit_difference, patch, path_patch, replace, trace
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=3)[0]


@pytest.fixture(scope="module")
def prompts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(11, (2, 7), generator=generator), torch.randint(11, (2, 7), generator=generator)


def contrast(logits: Tensor) -> Tensor:
    return logits[:, -1, 3] - logits[:, -1, 5]


def test_a_head_to_the_query_of_another(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    base, source = prompts
    found = path_patch(model, base, source, logit_difference(model, 3, 5), "L00.H01.OV", "blocks.2.attn.hook_q")
    delta = trace(model, source, ["L00.H01.OV"])["L00.H01.OV"] - trace(model, base, ["L00.H01.OV"])["L00.H01.OV"]
    expected = trace(model, base, changes=[replace("L02.q_in", lambda x: x + delta[:, :, None])]).logits
    torch.testing.assert_close(found.values, contrast(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.base, contrast(model.logits(base)))
    assert found.table[0]["sender"] == "L00.H01.OV"


def test_a_neuron_to_where_a_head_looks_and_to_its_value(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    base, source = prompts
    runs = [trace(model, ids, ["L00.N0002.OUT"])["L00.N0002.OUT"] for ids in (source, base)]
    delta = (runs[0] - runs[1])[..., None] * model.weights["h.0.mlp.c_proj.weight"][2]
    for receiver, names in (("L01.H00.QK", ("q_in", "k_in")), ("L01.H00.OV", ("v_in",))):
        found = path_patch(model, base, source, logit_difference(model, 3, 5), "L00.N0002.OUT", receiver)
        changes = [replace(f"L01.{name}", lambda x: x + delta, heads=0) for name in names]
        expected = contrast(trace(model, base, changes=changes).logits)
        torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-5)


def test_a_head_to_the_logits_and_to_the_mlp_of_its_layer(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    base, source = prompts
    metric = logit_difference(model, 3, 5)
    held = [trace(model, ids, ["L01.H02.OV"])["L01.H02.OV"] for ids in (source, base)]
    found = path_patch(model, base, source, metric, "L01.H02.OV", "logits", positions=6)
    moved = trace(model, base, changes=[replace("final_in", lambda x: x + held[0] - held[1])]).logits
    torch.testing.assert_close(found.values, contrast(moved), rtol=1e-4, atol=1e-5)
    found = path_patch(model, base, source, metric, "L01.H02.OV", "L01.N0003.IN")
    heard = trace(model, base, ["L01.pre"], [replace("L01.mlp_in", lambda x: x + held[0] - held[1])], logits=False)
    expected = trace(model, base, changes=[patch("L01.N0003.IN", heard)]).logits
    torch.testing.assert_close(found.values, contrast(expected), rtol=1e-4, atol=1e-5)


def test_through_mlps_only(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    base, source = prompts
    found = path_patch(model, base, source, logit_difference(model, 3, 5), "EMB.TOK", "logits", through_mlps=True)
    plain = trace(model, base, ["L*.attn_out"])
    changes = [patch(f"L{layer:02d}.attn_out", plain) for layer in range(3)]
    changes.append(patch("EMB.TOK", trace(model, source, ["EMB.TOK"])))
    torch.testing.assert_close(found.values, contrast(trace(model, base, changes=changes).logits), rtol=1e-4, atol=1e-5)


def test_paths_lead_upwards(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = logit_difference(model, 3, 5)
    for sender, receiver in (("L01.H00.OV", "L01.H01.QK"), ("L02.mlp_out", "L02.N0001.IN"), ("L02.z", "L00.q")):
        with pytest.raises(PellucidError, match="no path leads from"):
            path_patch(model, *prompts, metric, sender, receiver)
    with pytest.raises(PellucidError, match=r"'L00.resid_pre' cannot send"):
        path_patch(model, *prompts, metric, "L00.resid_pre", "logits")
    with pytest.raises(PellucidError, match=r"L01.resid_mid cannot receive"):
        path_patch(model, *prompts, metric, "L00.z", "L01.resid_mid")

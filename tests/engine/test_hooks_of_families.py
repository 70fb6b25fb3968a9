"""Hook names of TransformerLens on every family: queries before they turn, what gates multiply, norms behind."""

from __future__ import annotations

import pytest
import torch

import families
from pellucid import trace
from pellucid.base.errors import PellucidError
from pellucid.engine.sites import hooks
from pellucid.exact.model import Model

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])


@pytest.fixture(scope="module", params=families.KINDS)
def model(request: pytest.FixtureRequest) -> Model:
    return families.deep(request.param)


def test_every_hook_is_there(model: Model) -> None:
    names = hooks(model)
    run = trace(model, IDS, [*names], logits=False)
    assert all(run[name].isfinite().all() for name in names if not name.endswith("hook_attn_scores"))


def test_queries_and_keys_are_what_weights_read_of_the_norm(model: Model) -> None:
    read = trace(model, IDS, ["blocks.1.ln1.hook_normalized", "blocks.1.attn.hook_q", "blocks.1.attn.hook_k"])
    own, normed = model.layer(1), read["blocks.1.ln1.hook_normalized"]
    for hook, weight, bias in (("hook_q", own.query, own.query_bias), ("hook_k", own.key, own.key_bias)):
        expected = torch.einsum("bpm,mhd->bphd", normed, weight) + (0 if bias is None else bias)
        torch.testing.assert_close(read[f"blocks.1.attn.{hook}"], expected)


def test_scores_are_products_of_what_turned(model: Model) -> None:
    attention = model.decoder.blocks[1].attention
    if not attention.rotary:
        with pytest.raises(PellucidError, match="hook_rot_q"):
            trace(model, IDS, ["blocks.1.attn.hook_rot_q"])
        return
    names = [f"blocks.1.attn.{name}" for name in ("hook_rot_q", "hook_rot_k", "hook_attn_scores")]
    query, key, scores = (trace(model, IDS, names)[name] for name in names)
    key = key.repeat_interleave(query.shape[2] // key.shape[2], 2)
    expected = torch.einsum("bqhd,bkhd->bhqk", query, key) * attention.scale
    if attention.cap:
        expected = attention.cap * torch.tanh(expected / attention.cap)
    there = scores.isfinite()  # what no window reaches is −∞
    torch.testing.assert_close(scores[there], expected[there])


def test_what_gates_multiply_and_norms_behind(model: Model) -> None:
    block = model.decoder.blocks[1]
    names = hooks(model)
    assert ("blocks.1.mlp.hook_pre_linear" in names) == bool(block.mlp.gate)
    assert ("blocks.1.ln2_post.hook_normalized" in names) == bool(block.mlp.behind)
    assert ("blocks.1.hook_resid_mid" in names) != block.parallel

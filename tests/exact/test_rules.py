"""Rewrites preserve the function."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import checkpoints
from pellucid.exact.model import Taps
from pellucid.exact.rules import fold_norm, head_weights, refine, refined_names


@pytest.mark.parametrize("seed", range(3))
def test_a_refined_graph_computes_the_same(seed: int) -> None:
    model, ids = checkpoints.random_model(seed, **checkpoints.random_switches(seed))
    plain = model.run(ids, tuple(model.graph.names()))
    names = refined_names(model.graph)
    fine = refine(model.graph, names)
    assert len(fine.nodes) == len(model.graph.nodes) + len(names)
    found = model.run(ids, (*plain, *names))
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, at=name: f"{at}: {text}")


def test_only_what_is_asked_for_is_refined() -> None:
    model, _ = checkpoints.random_model()
    fine = refine(model.graph, ["L01.LN2.scale"])
    assert len(fine.nodes) == len(model.graph.nodes) + 4
    assert refine(model.graph, []).nodes == model.graph.nodes


@pytest.mark.parametrize("seed", range(3))
def test_a_head_alone_looks_and_moves_as_in_its_layer(seed: int) -> None:
    model, ids = checkpoints.random_model(seed, **checkpoints.random_switches(seed))
    layer, head = model.decoder.layers - 1, model.decoder.sizes.head - 1
    at = f"L{layer:02d}"
    run = model.forward(ids, Taps(record=[f"{at}.LN1", f"{at}.scores", f"{at}.pattern", f"{at}.head_writes"]))
    x, own = run.activations[f"{at}.LN1"], head_weights(model.weights, model.decoder, layer, head)
    queries, keys = x @ own.query + own.query_bias, x @ own.key + own.key_bias
    scores = queries @ keys.transpose(-1, -2) * model.decoder.blocks[layer].attention.scale
    torch.testing.assert_close(scores, run.activations[f"{at}.scores"][:, head], rtol=1e-4, atol=1e-4)
    moved = run.activations[f"{at}.pattern"][:, head] @ (x @ own.value + own.value_bias) @ own.out
    torch.testing.assert_close(moved, run.activations[f"{at}.head_writes"][:, :, head], rtol=1e-4, atol=1e-4)
    assert own.out.data_ptr() - model.weights[f"h.{layer}.attn.c_proj.weight"].data_ptr() == head * own.out.nbytes


def test_a_folded_norm_reads_the_same() -> None:
    torch.manual_seed(0)
    x, gain, shift, weight, bias = (torch.randn(*shape) for shape in ((2, 5, 9), (9,), (9,), (9, 4), (4,)))
    folded, folded_bias = fold_norm(gain, shift, weight, bias)
    expected = F.layer_norm(x, (9,), gain, shift) @ weight + bias
    torch.testing.assert_close(F.layer_norm(x, (9,)) @ folded + folded_bias, expected, rtol=1e-5, atol=1e-5)

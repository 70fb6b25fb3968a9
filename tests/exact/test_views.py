"""Canonical matrices compute what the graph computes, whatever the family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import families
from pellucid.base.errors import PellucidError
from pellucid.exact.decode import greedy
from pellucid.exact.model import Model, Taps
from pellucid.exact.writes import totals, writes
from pellucid.family import seams
from pellucid.subject.load import load_subject


def model_of(family: str, seed: int) -> tuple[families.Made, Model]:
    made = families.make(family, seed)
    return made, Model(families.in_memory(made))


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    found = torch.einsum("bpm,m...->bp...", x, weight)
    return found if bias is None else found + bias


@pytest.mark.parametrize("family", families.FAMILIES)
def test_views_compute_what_the_graph_does(family: str) -> None:
    _, model = model_of(family, 4)
    ids = torch.randint(model.n_vocab, (2, 7))
    for layer in range(model.decoder.layers):
        at, own = seams.at(layer), model.layer(layer)
        found = model.forward(ids, Taps(record=[f"L{layer:02d}.*"])).activations
        values = linear(found[at.norm1], own.value, own.value_bias)
        torch.testing.assert_close(values, found[at.v], rtol=1e-4, atol=1e-4)
        queries = found.get(at.raw("q"), found[at.q])
        torch.testing.assert_close(linear(found[at.norm1], own.query, own.query_bias), queries, rtol=1e-4, atol=1e-4)
        keys = found.get(at.raw("k"), found[at.k])
        torch.testing.assert_close(linear(found[at.norm1], own.key, own.key_bias), keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            linear(found[at.norm2], own.read, own.read_bias), found[at.pre], rtol=1e-4, atol=1e-4
        )
        written = torch.einsum("bphd,hdm->bpm", found[at.z], own.out)
        written = written if own.out_bias is None else written + own.out_bias
        torch.testing.assert_close(written, found.get(at.attn_sum, found[at.attn_out]), rtol=1e-4, atol=1e-4)
        fired = linear(found[at.post], own.write, own.write_bias)
        torch.testing.assert_close(fired, found.get(at.mlp_sum, found[at.mlp_out]), rtol=1e-4, atol=1e-4)
    final = model.run(ids, ("final",))["final"]
    if model.decoder.logit_cap is None:
        torch.testing.assert_close(final @ model.unembedding.T, model.logits(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_models_of_every_family_say_the_same_bits(family: str) -> None:
    made, model = model_of(family, 5)
    ids = torch.randint(model.n_vocab, (3, 12))
    with torch.inference_mode():
        assert torch.equal(model.logits(ids), made.model(ids).logits)
    assert "context" in repr(model)
    halved = dict.fromkeys(model.graph.names("*.attn_out"), torch.zeros_like)
    assert not torch.equal(model.forward(ids, Taps(replace=halved)).logits, model.logits(ids))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_writes_add_up_to_the_stream(family: str) -> None:
    _, model = model_of(family, 6)
    ids = torch.randint(model.n_vocab, (2, 5))
    if model.decoder.blocks[0].mlp.behind:
        with pytest.raises(PellucidError, match="norms what its layers write"):
            list(totals(model, ids))
        return
    stream = model.run(ids, (model.last_resid,))[model.last_resid]
    for found in (writes(model, ids), totals(model, ids)):
        total = sum((write for _, write in found), torch.zeros(1))
        torch.testing.assert_close(total, stream, rtol=1e-4, atol=1e-4)


def test_a_llama_directory_is_loaded_and_runs(shared: Path) -> None:
    path = shared / "models" / "stories260k"
    model = Model(load_subject(path, ids=True))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
    ids = torch.randint(model.n_vocab, (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model.logits(ids), theirs(ids).logits)
        said = theirs.generate(
            ids[:, :5], attention_mask=torch.ones(2, 5), max_new_tokens=40, do_sample=False, eos_token_id=-1
        )
    assert torch.equal(greedy(model, ids[:, :5], 40), said[:, 5:])
    assert model.subject.parameters == sum(p.numel() for p in theirs.parameters())

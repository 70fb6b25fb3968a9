"""Logits are, bit for bit, those of Hugging Face's eager attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

import checkpoints
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.zoo import registry


def check(model: Model, reference: GPT2LMHeadModel, ids: torch.Tensor) -> None:
    ours = model.logits(ids)
    with torch.no_grad():
        theirs = reference(ids).logits
    assert torch.equal(ours, theirs), f"largest difference {(ours - theirs).abs().max():.3g}"


def from_directory(path: Path) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(path, attn_implementation="eager").eval()


def test_the_reference_is_the_pinned_one() -> None:
    assert transformers.__version__ == "5.23.0"


@pytest.mark.parametrize("seed", range(12))
def test_random_configurations(seed: int) -> None:
    reference = checkpoints.hugging_face(seed, **checkpoints.random_switches(seed))
    model = Model(checkpoints.in_memory(reference))
    for shape in ((1, 1), (1, model.n_ctx), (3, model.n_ctx - 2)):
        check(model, reference, torch.randint(model.n_vocab, shape))


def test_random_configurations_cover_every_switch() -> None:
    drawn = [checkpoints.random_switches(seed) for seed in range(12)]
    for switch in ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings"):
        assert {switches[switch] for switches in drawn} == {True, False}
    assert {switches["n_inner"] is None for switches in drawn} == {True, False}


def test_upcast_attention_is_the_same_function() -> None:
    reference = checkpoints.hugging_face(reorder_and_upcast_attn=True)
    model = Model(checkpoints.in_memory(reference))
    ids = torch.randint(model.n_vocab, (2, 16))
    torch.testing.assert_close(model.logits(ids), reference(ids).logits, rtol=1e-5, atol=1e-5)


def test_the_size_of_gpt2_small() -> None:
    torch.manual_seed(0)
    reference = GPT2LMHeadModel(GPT2Config(attn_implementation="eager")).eval().requires_grad_(False)
    check(Model(checkpoints.in_memory(reference)), reference, torch.randint(50257, (1, 24)))


def test_novelist(novelist: Path) -> None:
    check(Model(load_subject(novelist)), from_directory(novelist), torch.randint(4096, (2, 256)))


def test_village() -> None:
    if "village" not in registry.names():
        pytest.skip("zoo:village does not ship its checkpoint yet")
    model = Model(load_subject("zoo:village"))
    check(model, from_directory(registry.path("village")), torch.randint(model.n_vocab, (2, model.n_ctx)))


def test_every_algorithmic_model(shared: Path) -> None:
    folders = sorted(path for path in (shared / "models" / "algorithmic").iterdir() if (path / "config.json").is_file())
    of_gpt2 = [path for path in folders if '"gpt2"' in (path / "config.json").read_text()]
    assert len(of_gpt2) == 17
    for path in of_gpt2:
        model = Model(load_subject(path))
        check(model, from_directory(path), torch.randint(model.n_vocab, (2, 20)))

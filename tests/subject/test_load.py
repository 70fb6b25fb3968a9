"""Loading: what a good checkpoint gives, and the one line that a bad one gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import checkpoints
from pellucid.base.errors import SubjectError
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject

Weights = dict[str, Tensor]


def change(directory: Path, edit: Callable[[Weights], Weights]) -> Path:
    """Rewrite the checkpoint's tensors."""
    weights = load_file(directory / "model.safetensors")
    save_file(edit(weights), directory / "model.safetensors")
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return checkpoints.write(tmp_path / "subject")


def test_a_subject_knows_what_it_is(directory: Path) -> None:
    subject = load_subject(directory)
    reference = checkpoints.hugging_face()
    assert subject.name == str(directory)
    assert subject.parameters == sum(p.numel() for p in reference.parameters())
    content = (directory / "model.safetensors").read_bytes()
    assert subject.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert subject.tokenizer_sha256 == hashlib.sha256((directory / "task.json").read_bytes()).hexdigest()
    assert subject.config_json["model_type"] == "gpt2"
    assert subject.notes == ()
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(Model(subject).logits(ids), reference(ids).logits)


def test_names_without_prefix_and_with_buffers(directory: Path) -> None:
    expected = load_subject(directory).weights
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 16, 16), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    change(directory, lambda weights: {k.removeprefix("transformer."): v for k, v in weights.items()} | buffers)
    found = load_subject(directory).weights
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_shards(directory: Path) -> None:
    expected = load_subject(directory)
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names, places = sorted(weights), {}
    for shard, own in enumerate((names[:9], names[9:]), start=1):
        file = f"model-0000{shard}-of-00002.safetensors"
        save_file({name: weights[name] for name in own}, directory / file)
        places |= dict.fromkeys(own, file)
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    found = load_subject(directory)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in expected.weights)
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SubjectError, match=r"names shards that are not there: model-00002-of-00002.safetensors"):
        load_subject(directory)
    index.write_text(json.dumps({"weight_map": {"wte.weight": "../other.safetensors"}}))
    with pytest.raises(SubjectError, match=r"names '\.\./other\.safetensors', expected safetensors files beside it"):
        load_subject(directory)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_become_float32_and_it_is_said(directory: Path, dtype: torch.dtype) -> None:
    change(directory, lambda weights: {name: tensor.to(dtype) for name, tensor in weights.items()})
    subject = load_subject(directory)
    assert {tensor.dtype for tensor in subject.weights.values()} == {torch.float32}
    assert subject.notes == (f"the checkpoint's {str(dtype)[6:]} weights were converted to float32",)


def test_a_tied_copy_must_be_the_same(directory: Path) -> None:
    def copy(weights: Weights) -> Weights:
        return weights | {"lm_head.weight": weights["transformer.wte.weight"].clone()}

    change(directory, copy)
    assert "lm_head.weight" not in load_subject(directory).weights
    change(directory, lambda weights: weights | {"lm_head.weight": weights["lm_head.weight"] + 1})
    with pytest.raises(SubjectError, match=r"lm_head.weight differs from wte.weight"):
        load_subject(directory)


def test_a_tied_table_may_be_kept_under_its_other_name(directory: Path) -> None:
    expected = load_subject(directory).weights
    change(directory, lambda w: {k.replace("transformer.wte", "lm_head"): tensor for k, tensor in w.items()})
    found = load_subject(directory).weights
    assert list(found) == list(expected)
    assert torch.equal(found["wte.weight"], expected["wte.weight"])


def test_further_heads_are_ignored_and_said(directory: Path) -> None:
    expected = load_subject(directory).weights
    more = {"v_head.summary.weight": torch.ones(1, 8), "score.weight": torch.full((2, 8), torch.nan)}
    change(directory, lambda weights: weights | more)
    found = load_subject(directory)
    assert all(torch.equal(found.weights[name], expected[name]) for name in expected)
    said = "heads beside the one that says the next token are ignored: score.weight, v_head.summary.weight"
    assert found.notes == (said,)


def test_a_type_of_its_own_is_said(tmp_path: Path) -> None:
    directory = checkpoints.write(tmp_path, model_type="own", architectures=["GPT2LMHeadModel"])
    assert "model_type 'own' and GPT-2's architecture; it is run as a GPT-2" in load_subject(directory).notes[0]


def test_all_that_does_not_fit_is_listed(directory: Path) -> None:
    def spoil(weights: Weights) -> Weights:
        weights["transformer.wpe.weight"] = weights["transformer.wpe.weight"][:9].clone()
        weights["transformer.h.1.mlp.c_fc.weight"] = weights["transformer.h.1.mlp.c_fc.weight"].T.contiguous()
        weights["transformer.ln_f.bias"] = torch.zeros(8, dtype=torch.int64)
        del weights["transformer.h.0.ln_1.bias"]
        return weights | {"soft_prompt.weight": torch.zeros(2, 8)}

    with pytest.raises(SubjectError) as caught:
        load_subject(change(directory, spoil))
    for part in (
        "missing h.0.ln_1.bias",
        "unexpected soft_prompt.weight",
        "wpe.weight [9, 8] not [16, 8]",
        "h.1.mlp.c_fc.weight [32, 8] not [8, 32]",
        "not floating-point: ln_f.bias I64",
    ):
        assert part in str(caught.value)


def test_numbers_that_are_none(directory: Path) -> None:
    change(directory, lambda weights: weights | {"transformer.ln_f.bias": torch.full((8,), torch.nan)})
    with pytest.raises(SubjectError, match=r"NaN or infinite numbers in ln_f\.bias"):
        load_subject(directory)


@pytest.mark.parametrize("size", [0, 4, 60, 4000])
def test_a_truncated_file(directory: Path, size: int) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(SubjectError, match=rf"model.safetensors \({size:,} bytes\) is truncated or not a safetensors"):
        load_subject(directory)


def test_missing_weights(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "weights.safetensors")
    with pytest.raises(SubjectError, match=r"has neither model.safetensors nor .*; it has weights.safetensors"):
        load_subject(directory)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt", "model.pth"])
def test_a_pickle_is_refused_with_the_way_out(directory: Path, name: str) -> None:
    (directory / "model.safetensors").rename(directory / name)
    for subject in (directory, directory / name):
        with pytest.raises(SubjectError, match=rf"{name} is a pickle checkpoint.*save_pretrained\("):
            load_subject(subject)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "config.json is not valid JSON: .*line 1"), ("[]", "holds a JSON list"), ("[" * 9999, "not valid JSON")],
)
def test_a_broken_config(directory: Path, text: str, message: str) -> None:
    (directory / "config.json").write_text(text)
    with pytest.raises(SubjectError, match=message):
        load_subject(directory)


def test_no_config(directory: Path) -> None:
    (directory / "config.json").unlink()
    with pytest.raises(SubjectError, match=r"config.json cannot be read: No such file"):
        load_subject(directory)


def test_another_family_is_named(shared: Path) -> None:
    with pytest.raises(SubjectError, match="model_type 'hooked_transformer'"):
        load_subject(shared / "models" / "algorithmic" / "modular_addition-1l4h128d")


def test_a_vocabulary_smaller_than_the_model_is_noted(tmp_path: Path) -> None:
    directory = checkpoints.write(tmp_path)
    (directory / "task.json").write_text(json.dumps({"vocab": ["a", "b", "c"]}))
    assert load_subject(directory).notes == ("the last 8 ids of the model's vocabulary have no token",)


def test_what_is_unusual_is_noted(tmp_path: Path) -> None:
    directory = checkpoints.write(tmp_path, reorder_and_upcast_attn=True)
    (directory / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 10}))
    (directory / "merges.txt").write_text("a b\n")
    upcast, lost = load_subject(directory).notes
    assert upcast.startswith("reorder_and_upcast_attn changes nothing in float32 but the last bits")
    assert lost == "the tokenizer has no token for 254 of the 256 bytes; text with such bytes loses them"

"""Files of dictionaries: own, and those of SAELens, sparsify, circuit-tracer and Gemma Scope."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dictionaries import drawn, random_dictionary
from safetensors.torch import load_file, save_file
from torch import Tensor

from pellucid import PellucidError
from pellucid.dictionary.dictionary import Dictionary, Origin
from pellucid.dictionary.file import write_dictionary
from pellucid.dictionary.opening import FORMATS, open_dictionary
from pellucid.dictionary.sound import tensors_of

KINDS = [("sae", "relu"), ("sae", "jumprelu"), ("sae", "topk"), ("transcoder", "jumprelu"), ("transcoder", "topk")]
KINDS += [("skip-transcoder", "relu"), ("skip-transcoder", "topk"), ("crosslayer", "jumprelu"), ("crosslayer", "relu")]
X = drawn(7, 1, 8, seed=20)


def made(kind: Any, firing: str, **more: Any) -> Dictionary:
    return random_dictionary(kind, firing, layers=3 if kind == "crosslayer" else 1, **more)


@pytest.mark.parametrize(("kind", "firing"), KINDS)
def test_its_own_files_hold_all_of_it(kind: str, firing: str, tmp_path: Path) -> None:
    origin = Origin("zoo:village", "c" * 64, "village/0-x", {"tokens": 1000, "seed": 3})
    one = made(kind, firing, origin=origin, scaling="length" if kind == "sae" else "none")
    back = open_dictionary(write_dictionary(one, tmp_path / "kept"))
    assert {name: tensor.tolist() for name, tensor in tensors_of(back).items()} == {
        name: tensor.tolist() for name, tensor in tensors_of(one).items()
    }
    for name in ("kind", "reads", "writes", "firing", "k", "scaling", "origin"):
        assert getattr(back, name) == getattr(one, name)


@pytest.mark.parametrize("format_", ["saelens", "sparsify", "circuit-tracer"])
@pytest.mark.parametrize(("kind", "firing"), KINDS)
def test_others_files_say_the_same_or_are_refused(kind: str, firing: str, format_: str, tmp_path: Path) -> None:
    one = made(kind, firing)
    folder = tmp_path / "layers.0.mlp"
    have = {
        "saelens": kind != "crosslayer" and (firing != "topk" or kind == "sae"),
        "sparsify": firing == "topk",
        "circuit-tracer": firing != "topk",
    }
    if not have[format_]:
        with pytest.raises(PellucidError, match=f"{firing}"):
            FORMATS[format_](one, folder)
        return
    FORMATS[format_](one, folder)
    single = format_ == "circuit-tracer" and kind != "crosslayer"
    back = open_dictionary(folder / "layer_0.safetensors" if single else folder)
    x = drawn(7, one.layers, 8, seed=20)
    assert (back.kind, back.firing, back.k) == (one.kind, one.firing, one.k)
    if format_ != "saelens":
        assert (back.reads, back.writes) == (one.reads, one.writes)
    torch.testing.assert_close(back.encode(x), one.encode(x))
    torch.testing.assert_close(back.reconstruct(x), one.reconstruct(x))


def saelens(folder: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "sae_weights.safetensors")
    hook = {"hook_name": "blocks.0.hook_mlp_out", "neuronpedia_id": "gpt2-small/0-mlp"}
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", "d_in": 8, "metadata": hook} | config))
    return folder


def weights(**more: Tensor) -> dict[str, Tensor]:
    held = {"W_enc": drawn(8, 12), "W_dec": drawn(12, 8, seed=1), "b_enc": drawn(12, seed=2), "b_dec": drawn(8, seed=3)}
    return held | more


def test_saelens_files_behave_as_saelens_documents(tmp_path: Path) -> None:
    w, x = weights(), X[:, 0]
    before = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    one = open_dictionary(saelens(tmp_path / "standard", w))
    assert one.reads == ("blocks.0.hook_mlp_out",)
    assert one.np_id(3) == "gpt2-small/0-mlp/3"
    torch.testing.assert_close(one.reconstruct(X)[:, 0], before.relu() @ w["W_dec"] + w["b_dec"])

    apart = open_dictionary(saelens(tmp_path / "apart", w, apply_b_dec_to_input=False))
    torch.testing.assert_close(apart.before(X)[:, 0], x @ w["W_enc"] + w["b_enc"])

    threshold = drawn(12, seed=4)  # below 0 it is as 0
    jump = open_dictionary(saelens(tmp_path / "jump", weights(threshold=threshold), architecture="jumprelu"))
    torch.testing.assert_close(jump.encode(X)[:, 0], before.relu() * (before > threshold))

    lengths = w["W_dec"].norm(dim=-1)
    largest = saelens(tmp_path / "topk", w, architecture="topk", k=3, rescale_acts_by_decoder_norm=True)
    values, places = (before * lengths).topk(3)
    fired = torch.zeros(7, 12).scatter(-1, places, values.relu())
    torch.testing.assert_close(
        open_dictionary(largest).reconstruct(X)[:, 0], (fired / lengths) @ w["W_dec"] + w["b_dec"]
    )

    scaled = open_dictionary(saelens(tmp_path / "scaled", w, normalize_activations="constant_norm_rescale"))
    factor = 8**0.5 / x.norm(dim=-1, keepdim=True)
    said = ((x * factor - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu() @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(scaled.reconstruct(X)[:, 0], said / factor)


def test_files_of_saelens_before_6_have_their_settings_in_one_place(tmp_path: Path) -> None:
    old = {"hook_name": "blocks.0.hook_mlp_out", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 2}}
    one = open_dictionary(saelens(tmp_path / "old", weights(), metadata=None, **old))
    assert (one.firing, one.k, one.writes) == ("topk", 2, ("blocks.0.hook_mlp_out",))


def test_sparsify_takes_the_offset_from_the_input_of_autoencoders_alone(tmp_path: Path) -> None:
    held = {"encoder.weight": drawn(12, 8), "encoder.bias": drawn(12, seed=2), "W_dec": drawn(12, 8, seed=1)}
    held |= {"b_dec": drawn(8, seed=3), "W_skip": drawn(8, 8, seed=4)}
    folder = tmp_path / "layers.2.mlp"
    folder.mkdir()
    save_file(held, folder / "sae.safetensors")
    (folder / "cfg.json").write_text('{"k": 2, "d_in": 8, "transcode": true, "skip_connection": true}')
    one = open_dictionary(folder)
    assert (one.kind, one.reads, one.writes) == ("skip-transcoder", ("L02.LN2",), ("L02.mlp_out",))
    x = X[:, 0]
    values, places = (x @ held["encoder.weight"].T + held["encoder.bias"]).relu().topk(2)
    fired = torch.zeros(7, 12).scatter(-1, places, values)
    said = fired @ held["W_dec"] + held["b_dec"] + x @ held["W_skip"].T
    torch.testing.assert_close(one.reconstruct(X)[:, 0], said)
    (folder / "cfg.json").write_text('{"k": 2, "d_in": 8, "activation": "groupmax"}')
    with pytest.raises(PellucidError, match="activation is 'groupmax', expected topk"):
        open_dictionary(folder)


def test_gemma_scope_takes_the_offset_from_no_input(tmp_path: Path) -> None:
    w = weights(threshold=drawn(12, seed=4).abs())
    folder = tmp_path / "layer_4" / "width_16k"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in w.items()})
    with pytest.raises(PellucidError, match=r"does not say what features read; name it \(reads=, writes=\)"):
        open_dictionary(folder)
    one = open_dictionary(folder, "blocks.4.ln2.hook_normalized", "blocks.4.hook_mlp_out")
    before = X[:, 0] @ w["W_enc"] + w["b_enc"]
    torch.testing.assert_close(one.encode(X)[:, 0], before * (before > w["threshold"]))
    torch.testing.assert_close(one.reconstruct(X)[:, 0], one.encode(X)[:, 0] @ w["W_dec"] + w["b_dec"])
    assert open_dictionary(folder / "params.npz", "blocks.4.hook_resid_post").kind == "sae"

    second = {"w_enc": w["W_enc"], "w_dec": w["W_dec"], "b_enc": w["b_enc"], "b_dec": w["b_dec"]}
    second |= {"threshold": w["threshold"], "affine_skip_connection": drawn(8, 8, seed=6)}
    save_file(second, folder / "other.safetensors")
    (folder / "config.yaml").write_text(
        'feature_input_hook: "ln2.hook_normalized"\nfeature_output_hook: hook_mlp_out\n'
    )
    two = open_dictionary(folder / "other.safetensors")
    assert (two.reads, two.kind) == (("L04.LN2.normalized",), "skip-transcoder")
    torch.testing.assert_close(
        two.reconstruct(X)[:, 0], one.reconstruct(X)[:, 0] + X[:, 0] @ second["affine_skip_connection"]
    )


def test_bad_files_are_refused_by_name(tmp_path: Path) -> None:
    own = write_dictionary(random_dictionary(), tmp_path / "own")
    kept, tensors = json.loads((own / "dictionary.json").read_text()), load_file(own / "dictionary.safetensors")

    def refused(said: str, about: dict[str, Any] | None = None, **change: Tensor | None) -> None:
        (own / "dictionary.json").write_text(json.dumps(kept | (about or {})))
        held = {name: one for name, one in (tensors | change).items() if one is not None}
        save_file(held, own / "dictionary.safetensors")
        with pytest.raises(PellucidError, match=said):
            open_dictionary(own)

    refused("dictionary.safetensors: its features fire above thresholds .* are missing", thresholds=None)
    refused("encoder is missing", encoder=None)
    refused("stranger is no tensor that is understood here", stranger=drawn(1))
    refused(r"encoder is float32 of shape \[8\], expected numbers with 3 axes", encoder=drawn(8))
    refused(r"bias has shape \[1, 3\], expected \[1, 12\]", bias=drawn(1, 3))
    refused("12 numbers of bias are not finite", bias=torch.full((1, 12), torch.inf))
    refused("the decoder is not normalised: .* differs from 1 by up to 1", **{"decoder.0": tensors["decoder.0"] * 2})
    refused("kind is 'moe', expected", {"kind": "moe"})
    refused("format is 9, expected 1", {"format": 9})
    refused("extra is no entry", {"extra": 1})
    (own / "dictionary.json").write_text(json.dumps(kept))
    (own / "dictionary.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(PellucidError, match="holds no tensors that can be read"):
        open_dictionary(own)

    for said, config in (
        ("architecture is 'gated', expected standard", {"architecture": "gated"}),
        ("activation function 'tanh-relu' is not understood", {"activation_fn_str": "tanh-relu"}),
        ("normalize_activations is 'other'", {"normalize_activations": "other"}),
        ("k is None, expected how many", {"architecture": "topk"}),
        ("hook_name is None", {"metadata": {}}),
        ("threshold is missing", {"architecture": "jumprelu"}),
    ):
        with pytest.raises(PellucidError, match=said):
            open_dictionary(saelens(tmp_path / said[:8].replace(" ", "_"), weights(), **config))
    with pytest.raises(PellucidError, match="no such folder or file"):
        open_dictionary(tmp_path / "nowhere")
    with pytest.raises(PellucidError, match=r"is no dictionary: .*it holds activati"):
        open_dictionary(tmp_path)
    with pytest.raises(PellucidError, match="names nothing on the hub"):
        open_dictionary("hub:nobody")


def test_an_uneven_decoder_may_be_kept_where_it_says_so(tmp_path: Path) -> None:
    one = random_dictionary("transcoder", "topk")
    uneven = replace(one, decoders=(one.decoders[0] * 3,))
    assert not open_dictionary(write_dictionary(uneven, tmp_path / "uneven")).unit

"""Tiny random models of every family, made and run by Hugging Face, that decoders are held against."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers as hf
from safetensors.torch import load_file

from pellucid.exact.model import Model
from pellucid.family.blocks import Decoder
from pellucid.family.known import decoder_of
from pellucid.subject.load import Subject
from pellucid.subject.tokenizer import WordTokenizer

SEEDS = range(12)
Draw = Callable[[random.Random], tuple[type[hf.PretrainedConfig], dict[str, Any]]]


def _common(draw: random.Random) -> dict[str, Any]:
    groups, dim = draw.choice([1, 2, 3]), draw.choice([4, 8, 12])
    heads = groups * draw.choice([1, 2, 3])
    return {
        "vocab_size": draw.choice([23, 97]),
        "hidden_size": heads * dim,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "intermediate_size": draw.choice([7, 24, 33]),
        "max_position_embeddings": draw.choice([32, 40]),
        "rms_norm_eps": draw.choice([1e-6, 1e-5, 1e-2]),
        "hidden_act": draw.choice(["silu", "gelu", "gelu_pytorch_tanh", "relu"]),
        "tie_word_embeddings": draw.random() < 0.5,
        "rope_parameters": _stretched(draw),
        "pad_token_id": None,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


def _stretched(draw: random.Random) -> dict[str, Any]:
    base = {"rope_theta": draw.choice([10000.0, 1e6, 500.0])}
    trained = {"original_max_position_embeddings": draw.choice([8, 16])}
    kinds: list[dict[str, Any]] = [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 3.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0} | trained,
        {"rope_type": "yarn", "factor": 4.0} | trained,
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.4}
        | trained,
        {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.3} | trained,
    ]
    return base | draw.choice(kinds)


def _llama(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    own = {"attention_bias": draw.random() < 0.5, "mlp_bias": draw.random() < 0.5, "head_dim": draw.choice([None, 6])}
    return hf.LlamaConfig, _common(draw) | own


def _mistral(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    own = {"sliding_window": draw.choice([None, 5, 9]), "head_dim": draw.choice([None, 10])}
    return hf.MistralConfig, _common(draw) | own


def _windows(draw: random.Random, layers: int) -> dict[str, Any]:
    kinds = [draw.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    by_type = {"use_sliding_window": True, "sliding_window": 5, "layer_types": kinds}
    by_number = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
    return draw.choice([{}, by_type, by_number])


def _qwen2(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    common = _common(draw)
    return hf.Qwen2Config, common | _windows(draw, common["num_hidden_layers"])


def _qwen3(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    common = _common(draw)
    own = {"attention_bias": draw.random() < 0.5, "head_dim": draw.choice([4, 10])}
    return hf.Qwen3Config, common | _windows(draw, common["num_hidden_layers"]) | own


def _gemma(draw: random.Random) -> dict[str, Any]:
    common = _common(draw)
    common["hidden_activation"] = common.pop("hidden_act")
    own = {
        "attention_bias": draw.random() < 0.3,
        "head_dim": draw.choice([4, 10]),
        "sliding_window": draw.choice([4, 7]),
    }
    return common | own | {"query_pre_attn_scalar": draw.choice([16, 77]), "num_hidden_layers": draw.choice([1, 2, 4])}


def _gemma2(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    own = {
        "final_logit_softcapping": draw.choice([None, 3.0]),
        "attn_logit_softcapping": draw.choice([None, 2.0, 50.0]),
    }
    return hf.Gemma2Config, _gemma(draw) | own


def _gemma3(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    own = {"sliding_window_pattern": draw.choice([2, 6]), "final_logit_softcapping": draw.choice([None, 3.0])}
    common = _gemma(draw)
    whole = common.pop("rope_parameters")
    whole.pop("truncate", None)
    positions = {"full_attention": whole, "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}
    return hf.Gemma3TextConfig, common | own | draw.choice([{}, {"rope_parameters": positions}])


def _neox(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    common = _common(draw)
    for key in ("num_key_value_heads", "rms_norm_eps"):
        common.pop(key)
    positions = common.pop("rope_parameters") | {"partial_rotary_factor": draw.choice([0.25, 0.5, 1.0])}
    own = {"use_parallel_residual": draw.random() < 0.6, "attention_bias": draw.random() < 0.7}
    return hf.GPTNeoXConfig, common | own | {"layer_norm_eps": 1e-4, "rope_parameters": positions}


def _gpt2(draw: random.Random) -> tuple[type[hf.PretrainedConfig], dict[str, Any]]:
    heads = draw.choice([1, 2, 3])
    return hf.GPT2Config, {
        "n_layer": draw.choice([1, 3]),
        "n_head": heads,
        "n_embd": heads * draw.choice([3, 8]),
        "n_positions": 32,
        "vocab_size": 23,
        "n_inner": draw.choice([None, 7]),
        "scale_attn_weights": draw.random() < 0.5,
        "scale_attn_by_inverse_layer_idx": draw.random() < 0.5,
        "tie_word_embeddings": draw.random() < 0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


FAMILIES: dict[str, Draw] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt_neox": _neox,
}


class Made(NamedTuple):
    """A random model, its decoder, and its weights under canonical names."""

    model: hf.PreTrainedModel
    decoder: Decoder
    weights: dict[str, torch.Tensor]
    fields: dict[str, Any]


def make(family: str, seed: int) -> Made:
    """A random model with eager attention; every parameter, norms and biases too, differs from its usual start."""
    torch.manual_seed(seed)
    kind, fields = FAMILIES[family](random.Random(1000 + seed))
    model = hf.AutoModelForCausalLM.from_config(kind(**fields), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1) * 0.5)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        said = json.loads((Path(folder) / "config.json").read_text())
        stored = load_file(Path(folder) / "model.safetensors")
    decoder = decoder_of(said, "config.json")
    named = {decoder.names.canonical(name): tensor for name, tensor in stored.items()}
    weights = {name: tensor.clone() for name, tensor in named.items() if name}  # aligned as PyTorch aligns
    return Made(model.requires_grad_(False), decoder, weights, said)


def in_memory(made: Made) -> Subject:
    """The subject that a model is, without files; its tokens are the words w0, w1, …"""
    words = WordTokenizer([f"w{at}" for at in range(made.decoder.sizes.vocab)], 0, "random")
    return Subject("random", Path(), made.decoder, made.weights, words, "", "", made.fields)


KINDS = (*FAMILIES, "parallel")
"""Every family, and one whose attention and MLP surely read the same stream."""


def deep(kind: str, *, smooth: bool = False) -> Model:
    """A random model of `KINDS` of several layers, in 64 bits; `smooth`: with an activation function without a kink."""
    for seed in range(2, 99):
        made = make("gpt_neox" if kind == "parallel" else kind, seed)
        own = made.decoder
        if (
            own.layers > 1
            and own.blocks[0].parallel >= (kind == "parallel")
            and not (smooth and own.activation == "relu")
        ):
            return Model(in_memory(made), torch.float64)
    raise AssertionError(f"no seed makes a model of the kind {kind}")

"""GGUF files of tiny random models, written as llama.cpp's converter writes them, by the names that its package has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers as hf

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

SIZES = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 48}
ROTARY = SIZES | {"max_position_embeddings": 64, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
GEMMA = ROTARY | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8, "num_hidden_layers": 7}
GPT2 = {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 64, "vocab_size": 48, "n_inner": 96}
POSITIONS = {"rope_theta": 5e5, "rope_type": "default"}
LLAMA3 = POSITIONS | {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
BY_TYPE = {"full_attention": POSITIONS, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
KINDS: dict[str, tuple[str, type[hf.PretrainedConfig], dict[str, Any]]] = {
    "llama": ("llama", hf.LlamaConfig, ROTARY | {"rope_parameters": POSITIONS, "tie_word_embeddings": True}),
    "llama-untied": ("llama", hf.LlamaConfig, ROTARY | {"head_dim": 32, "tie_word_embeddings": False}),
    "llama-biased": ("llama", hf.LlamaConfig, ROTARY | {"attention_bias": True, "mlp_bias": True}),
    "llama3": ("llama", hf.LlamaConfig, ROTARY | {"head_dim": 64, "rope_parameters": LLAMA3}),
    "mistral": ("llama", hf.MistralConfig, ROTARY | {"sliding_window": 6}),
    "qwen2": (
        "qwen2",
        hf.Qwen2Config,
        ROTARY | {"rope_parameters": POSITIONS | {"rope_type": "linear", "factor": 2.0}},
    ),
    "qwen3": ("qwen3", hf.Qwen3Config, ROTARY | {"head_dim": 32, "tie_word_embeddings": True}),
    "gemma2": (
        *("gemma2", hf.Gemma2Config),
        GEMMA | {"attn_logit_softcapping": 20.0, "final_logit_softcapping": 9.0},
    ),
    "gemma3": ("gemma3", hf.Gemma3TextConfig, GEMMA | {"rope_parameters": BY_TYPE}),
    "gpt2": ("gpt2", hf.GPT2Config, GPT2),
}
"""Name to architecture, config and its fields."""


class Written(NamedTuple):
    """A file, and the model whose numbers it holds."""

    path: Path
    model: hf.PreTrainedModel


def written(
    path: Path, kind: str, packing: str = "F32", more: dict[str, Any] | None = None, without: tuple[str, ...] = ()
) -> Written:
    """A random model of that kind, whose matrices are what packing them leaves, written to `path`.

    `more` are settings beside those of the model, in the place of its own; tensors and settings `without` are left out.
    """
    architecture, config, fields = KINDS[kind]
    torch.manual_seed(len(kind))
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    model = hf.AutoModelForCausalLM.from_config(config(**fields, **ends), attn_implementation="eager").eval()
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in {**_settings(architecture, model.config), **(more or {})}.items():
        if key not in without:
            _add(writer, key, value)
    enum = getattr(gguf.MODEL_ARCH, architecture.upper())
    names = gguf.get_tensor_name_map(enum, model.config.num_hidden_layers)
    state = model.state_dict()
    for tensor in state.values():
        with torch.no_grad():
            tensor.copy_(torch.randn_like(tensor) * 0.3 + (tensor.ndim == 1) * 0.5)
    tied = model.config.tie_word_embeddings
    for name, tensor in state.items():
        if name == "lm_head.weight" and tied:
            continue
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if own not in without:
            _write(writer, own, tensor, architecture, model.config, packing)
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", _divisors(64, LLAMA3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Written(path, model)


def _write(writer: Any, name: str, tensor: torch.Tensor, architecture: str, config: Any, packing: str) -> None:
    """One tensor, as the converter changes it; the model is left with what packing keeps of it."""
    turned = architecture == "gpt2" and tensor.ndim == 2 and name.startswith("blk.")
    array = np.ascontiguousarray((tensor.T if turned else tensor).numpy())
    if tensor.ndim == 2:
        enum = gguf.GGMLQuantizationType[packing]
        array = gguf.quants.dequantize(gguf.quants.quantize(array, enum), enum).reshape(array.shape)
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(array.T if turned else array)))
    if architecture == "llama" and ".attn_q." in name:
        array = _paired(array, config.num_attention_heads)
    if architecture == "llama" and ".attn_k." in name:
        array = _paired(array, config.num_key_value_heads)
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        with torch.no_grad():
            tensor.copy_(torch.from_numpy((array + np.float32(1)) - np.float32(1)))
        array = array + np.float32(1)
    if tensor.ndim == 2:
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(array), enum), raw_dtype=enum)
    else:
        writer.add_tensor(name, np.ascontiguousarray(array, np.float32))


def _paired(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of both halves of a head in turn."""
    return array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _divisors(dim: int, positions: dict[str, Any]) -> np.ndarray:
    """What Llama 3 divides the turns of pairs by, as the converter writes it."""
    rates = 1.0 / positions["rope_theta"] ** (np.arange(0, dim, 2) / dim)
    found = []
    for rate in rates:
        length = 2 * np.pi / rate
        if length < positions["original_max_position_embeddings"] / positions["high_freq_factor"]:
            found.append(1.0)
        elif length > positions["original_max_position_embeddings"] / positions["low_freq_factor"]:
            found.append(positions["factor"])
        else:
            share = positions["original_max_position_embeddings"] / length - positions["low_freq_factor"]
            share /= positions["high_freq_factor"] - positions["low_freq_factor"]
            found.append(1 / ((1 - share) / positions["factor"] + share))
    return np.array(found, np.float32)


def _settings(architecture: str, config: Any) -> dict[str, Any]:
    """The settings that the converter writes."""
    heads, dim = config.num_attention_heads, getattr(config, "head_dim", None)
    found: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", None) or config.n_inner,
        "attention.head_count": heads,
    }
    if architecture == "gpt2":
        found["attention.layer_norm_epsilon"] = config.layer_norm_epsilon
        return {f"{architecture}.{key}": value for key, value in found.items()}
    found |= {"attention.head_count_kv": config.num_key_value_heads}
    found |= {"attention.layer_norm_rms_epsilon": config.rms_norm_eps}
    if dim and dim != config.hidden_size // heads:
        found |= {"attention.key_length": dim, "attention.value_length": dim}
    positions = config.rope_parameters.get("full_attention", config.rope_parameters)
    found["rope.freq_base"] = float(positions["rope_theta"])
    if positions["rope_type"] == "linear":
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": positions["factor"]}
    if architecture.startswith("gemma") or config.model_type == "mistral":
        found["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
            found[cap] = getattr(config, cap)
    return {f"{architecture}.{key}": value for key, value in found.items()}


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
        return
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add[type(value)](key, value)

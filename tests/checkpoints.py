"""Small random checkpoints, written and run by Hugging Face, that tests hold pellucid against."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

from pellucid.exact.model import Model
from pellucid.family import gpt2
from pellucid.family.activations import ACTIVATIONS
from pellucid.program.wires import Wave
from pellucid.subject.load import Subject
from pellucid.subject.tokenizer import WordTokenizer

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 11}


def hugging_face(seed: int = 0, **switches: Any) -> GPT2LMHeadModel:
    """A random GPT-2 with eager attention; every parameter, norms and biases too, differs from its usual start."""
    torch.manual_seed(seed)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**(TINY | ends | switches), attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model.requires_grad_(False)


def tensors(model: GPT2LMHeadModel) -> dict[str, torch.Tensor]:
    """What `save_pretrained` would write: a tied unembedding once."""
    tied = model.config.tie_word_embeddings
    return {name: t for name, t in model.state_dict().items() if not (tied and name == "lm_head.weight")}


def in_memory(model: GPT2LMHeadModel) -> Subject:
    """The subject that `model` is, without files; its tokens are the words w0, w1, …"""
    decoder = gpt2.gpt2(model.config.to_dict(), "config.json")
    weights = {name.removeprefix("transformer."): tensor for name, tensor in tensors(model).items()}
    words = WordTokenizer([f"w{at}" for at in range(decoder.sizes.vocab)], 0, "random")
    return Subject("random", Path(), decoder, weights, words, "", "", model.config.to_dict())


def random_switches(seed: int) -> dict[str, Any]:
    """A random configuration: odd sizes, and every switch that changes the function."""
    draw = random.Random(seed)
    heads = draw.choice([1, 2, 3, 5])
    return {
        "n_layer": draw.choice([1, 2, 3]),
        "n_head": heads,
        "n_embd": heads * draw.choice([3, 5, 8, 16]),
        "n_inner": draw.choice([None, 7, 33, 64]),
        "n_positions": draw.choice([13, 24, 33]),
        "vocab_size": draw.choice([11, 97, 130]),
        "activation_function": draw.choice([*ACTIVATIONS]),
        "layer_norm_epsilon": draw.choice([1e-5, 1e-6, 1e-2]),
        "scale_attn_weights": draw.choice([True, False]),
        "scale_attn_by_inverse_layer_idx": draw.choice([True, False]),
        "tie_word_embeddings": draw.choice([True, False]),
    }


def random_model(seed: int = 0, **switches: Any) -> tuple[Model, torch.Tensor]:
    """A random model and ids [batch pos] that fill most of its context."""
    model = Model(in_memory(hugging_face(seed, **switches)))
    generator = torch.Generator().manual_seed(seed)
    shape = (1 + seed % 3, model.n_ctx - seed % 4)
    return model, torch.randint(model.n_vocab, shape, generator=generator)


def write(directory: Path, model: GPT2LMHeadModel | None = None, **changes: Any) -> Path:
    """A checkpoint directory with a vocabulary of words; `changes` are made to its config.json (None removes a key)."""
    model = model or hugging_face()
    directory.mkdir(parents=True, exist_ok=True)
    fields = model.config.to_dict() | changes
    kept = {key: value for key, value in fields.items() if not (key in changes and value is None)}
    (directory / "config.json").write_text(json.dumps(kept))
    save_file({name: t.contiguous() for name, t in tensors(model).items()}, directory / "model.safetensors")
    vocabulary = [f"w{at}" for at in range(model.config.vocab_size)]
    (directory / "task.json").write_text(json.dumps({"name": "random", "vocab": vocabulary}))
    return directory


def thin(weights: dict[str, torch.Tensor], share: float, seed: int = 0) -> None:
    """Leave a `share` of the weights, of few digits: waves for positions, plain norms, no biases of keys and values."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        if "ln_" in name:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
        elif "wpe" in name:
            tensor.zero_()
            tensor[:, 0] = torch.from_numpy(Wave(0.0, 5.0, 0.7)(len(tensor)))
            tensor[:, 1] = torch.from_numpy(Wave(0.25, 5.0, 0.7)(len(tensor)))
        else:
            kept = torch.rand(tensor.shape, generator=generator) < share
            tensor.copy_(kept * torch.randint(-9, 10, tensor.shape, generator=generator) / 8)
        if name.endswith("c_attn.bias"):
            tensor[len(tensor) // 3 :] = 0

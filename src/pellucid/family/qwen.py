"""Qwen 2 (arXiv 2407.10671) and Qwen 3 (arXiv 2505.09388), as Hugging Face runs them.

As Llama; Qwen 2 has biases of queries, keys and values, Qwen 3 norms of queries and keys. Later layers may
see a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.family.blocks import Block, Decoder
from pellucid.family.llama import NEEDS, decoder, gated, grouped, rms, sizes_of, whole
from pellucid.family.settings import FOREIGN, ConfigSettings
from pellucid.family.windows import windows

TYPES = ("qwen2", "qwen3")


def qwen(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder of a Qwen's config. Raises `SubjectError` for what is malformed or not understood."""
    read, third = ConfigSettings(fields, path, NEEDS), fields.get("model_type") == "qwen3"
    read.refuse(FOREIGN)
    sizes = sizes_of(read, 32, 128 if third else None)
    biased = read.switch("attention_bias", False) if third else True
    attention = grouped(rms(read, "input_layernorm"), sizes, whole(read, sizes.dim), biased, third and biased)
    if third:
        own = rms(read, "self_attn.q_norm"), rms(read, "self_attn.k_norm")
        attention = replace(attention, head_norms=own)
    mlp = gated(read, rms(read, "post_attention_layernorm"))
    window = read.maybe_size("sliding_window", 4096) if read.switch("use_sliding_window", False) else None
    full = read.number("max_window_layers", 28.0)
    layers = range(read.size("num_hidden_layers"))
    usual = ["sliding_attention" if window and layer >= full else "full_attention" for layer in layers]
    blocks = [Block(replace(attention, window=own), mlp) for own in windows(read, usual, window)]
    return decoder(read, sizes, tuple(blocks))

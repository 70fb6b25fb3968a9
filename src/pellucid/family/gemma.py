"""Gemma 2 (arXiv 2408.00118) and the text model of Gemma 3 (arXiv 2503.19786), as Hugging Face runs them.

As Llama; norms before and behind attention and MLP whose gain is 1 + the stored weight, scaled embeddings, windows in
most layers. Gemma 2 holds scores and logits within a cap; Gemma 3 norms queries and keys, and turns them with another
base where a layer sees a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import Attention, Block, Decoder
from pellucid.family.llama import NEEDS, decoder, gated, grouped, rms, sizes_of, whole
from pellucid.family.positions import rotary_of
from pellucid.family.rotary import Rotary
from pellucid.family.settings import FOREIGN, ConfigSettings
from pellucid.family.slots import Sizes
from pellucid.family.windows import FULL, SLIDING, layer_types, windows

TYPES = ("gemma2", "gemma3_text")


def gemma(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder of a Gemma's config. Raises `SubjectError` for what is malformed or not understood."""
    read, third = ConfigSettings(fields, path, NEEDS), fields.get("model_type") == "gemma3_text"
    read.refuse(FOREIGN | ({"attn_logit_softcapping": ()} if third else {}))
    sizes = sizes_of(read, 4, 256)
    every = read.size("sliding_window_pattern", 6) if third else 2
    usual = [FULL if (layer + 1) % every == 0 else SLIDING for layer in range(read.size("num_hidden_layers"))]
    seen = windows(read, usual, read.maybe_size("sliding_window", 4096))
    turned = _by_type(read, sizes.dim) if third else dict.fromkeys((FULL, SLIDING), whole(read, sizes.dim))
    attention = _attention(read, sizes, turned[FULL], third)
    mlp = gated(read, rms(read, "pre_feedforward_layernorm", True), False, "hidden_activation", "gelu_pytorch_tanh")
    mlp = replace(mlp, behind=rms(read, "post_feedforward_layernorm", True))
    kinds = zip(layer_types(read, usual), seen, strict=True)
    blocks = [Block(replace(attention, window=window, rotary=turned[kind]), mlp) for kind, window in kinds]
    cap = read.maybe("final_logit_softcapping", None if third else 30.0)
    ends = {"plus_one": True, "embed_scale": sizes.model**0.5, "logit_cap": cap}
    return decoder(read, sizes, tuple(blocks), True, **ends)


def _attention(read: ConfigSettings, sizes: Sizes, positions: Rotary, third: bool) -> Attention:
    biased = read.switch("attention_bias", False)
    found = grouped(rms(read, "input_layernorm", True), sizes, positions, biased, biased)
    own = rms(read, "self_attn.q_norm", True), rms(read, "self_attn.k_norm", True)
    return replace(
        found,
        scale=read.positive("query_pre_attn_scalar", 256.0) ** -0.5,
        behind=rms(read, "post_attention_layernorm", True),
        head_norms=own if third else None,
        cap=None if third else read.maybe("attn_logit_softcapping", 50.0),
    )


def _by_type(read: ConfigSettings, dim: int) -> dict[str, Rotary]:
    """The rotary positions of layers that see all, and of those that see a window."""
    given = read.table("rope_parameters")
    if foreign := given.keys() - {FULL, SLIDING}:
        raise SubjectError(
            f"{read.path}: rope_parameters has {', '.join(sorted(foreign))}, expected {FULL} and {SLIDING}"
        )
    bases = {FULL: read.get("rope_theta", 1e6), SLIDING: read.get("rope_local_base_freq", 1e4)}
    found = {}
    for kind, base in bases.items():
        own = given.get(kind) or {}
        stretched = read.table("rope_scaling") if kind == FULL else {}
        fields = {"rope_theta": base, **own, **stretched}
        found[kind] = rotary_of(read, f"rope_parameters.{kind}", fields, dim)
        if found[kind].dims != dim:
            raise SubjectError(f"{read.path} asks for what is not supported: partial_rotary_factor in {kind}")
    return found

"""Llama 2 and 3 (arXiv 2307.09288, 2407.21783), Mistral (arXiv 2310.06825) and SmolLM2, as Hugging Face runs them.

Norms without a centre, rotary positions, heads that share keys and values, gated neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.names import Names
from pellucid.family.positions import rotary
from pellucid.family.rotary import Rotary
from pellucid.family.settings import FOREIGN, ConfigSettings
from pellucid.family.slots import Sizes, Slot

TYPES = ("llama", "mistral")
NAMES = Names(("model.",), r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
BLOCK = "layers.{layer}"
NEEDS = (
    "a config of this family names hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size, "
    "max_position_embeddings"
)


def llama(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder of a Llama's or Mistral's config. Raises `SubjectError` for what is malformed or not understood."""
    read, mistral = ConfigSettings(fields, path, NEEDS), fields.get("model_type") == "mistral"
    read.refuse(FOREIGN | {"layer_types": ([],)} | ({} if mistral else {"sliding_window": ()}))
    sizes = sizes_of(read, 8 if mistral else None)
    biased = not mistral and read.switch("attention_bias", False)
    attention = grouped(rms(read, "input_layernorm"), sizes, whole(read, sizes.dim), biased, biased)
    if mistral:
        attention = replace(attention, window=read.maybe_size("sliding_window", 4096))
    mlp = gated(read, rms(read, "post_attention_layernorm"), not mistral and read.switch("mlp_bias", False))
    return decoder(read, sizes, (Block(attention, mlp),) * read.size("num_hidden_layers"))


def decoder(read: ConfigSettings, sizes: Sizes, blocks: tuple[Block, ...], tied: bool = False, **more: Any) -> Decoder:
    """A decoder of `blocks` whose ends are named as Llama's."""
    unembed = None if read.switch("tie_word_embeddings", tied) else "lm_head.weight"
    final = Norm("rms", "norm", read.number("rms_norm_eps", 1e-6), bool(more.pop("plus_one", False)))
    kind = str(read.get("model_type", "llama"))
    return Decoder(kind, sizes, blocks, "embed_tokens.weight", final, unembed, names=NAMES, **more)


def sizes_of(read: ConfigSettings, groups: int | None, dim: int | None = None) -> Sizes:
    """The lengths of the axes; `groups` and `dim` where the config does not say them (None: one a head, all of it).

    Raises `SubjectError` where heads cannot be divided among groups.
    """
    model, heads = read.size("hidden_size"), read.size("num_attention_heads")
    shared = read.size("num_key_value_heads", groups or heads)
    own = read.size("head_dim", dim or max(1, model // heads))
    if heads % shared:
        several = f"num_attention_heads {heads} is not a multiple of num_key_value_heads {shared}"
        raise SubjectError(f"{read.path}: {several}")
    if own % 2:
        raise SubjectError(f"{read.path}: head_dim is {own}, expected an even number: its halves turn together")
    vocab, pos = read.size("vocab_size"), read.size("max_position_embeddings")
    return Sizes(model, heads, shared, own, read.size("intermediate_size"), vocab, pos)


def rms(read: ConfigSettings, name: str, plus_one: bool = False) -> Norm:
    """The norm of that name in a block."""
    return Norm("rms", f"{BLOCK}.{name}", read.number("rms_norm_eps", 1e-6), plus_one)


def whole(read: ConfigSettings, dim: int) -> Rotary:
    """Rotary positions that turn all of a head. Raises `SubjectError` where only a part is to turn."""
    found = rotary(read, dim)
    if found.dims != dim:
        raise SubjectError(f"{read.path} asks for what is not supported: partial_rotary_factor = {found.dims / dim}")
    return found


def grouped(norm: Norm, sizes: Sizes, positions: Rotary, reads: bool, writes: bool) -> Attention:
    """Attention with a tensor each for queries, keys, values and writes; `reads` and `writes` say which have biases."""

    def slot(letter: str, axis: str) -> Slot:
        return Slot(f"{BLOCK}.self_attn.{letter}_proj", f"{axis} dim <- model", bias=reads)

    out = Slot(f"{BLOCK}.self_attn.o_proj", "model <- head dim", bias=writes)
    heads = slot("q", "head"), slot("k", "group"), slot("v", "group")
    return Attention(norm, *heads, out, sizes.dim**-0.5, positions)


def gated(
    read: ConfigSettings, norm: Norm, biased: bool = False, activation: str = "hidden_act", usual: str = "silu"
) -> MLP:
    """Neurons with a gate."""

    def slot(name: str, layout: str) -> Slot:
        return Slot(f"{BLOCK}.mlp.{name}_proj", layout, bias=biased)

    up, down, gate = slot("up", "neuron <- model"), slot("down", "model <- neuron"), slot("gate", "neuron <- model")
    return MLP(norm, up, down, read.activation(activation, usual), gate)

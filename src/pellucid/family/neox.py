"""GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373), as Hugging Face `GPTNeoXForCausalLM` runs them.

One tensor holds queries, keys and values, part by part within each head; a share of a head's coordinates turns;
attention and MLP read the same stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.names import Names
from pellucid.family.positions import rotary
from pellucid.family.settings import FOREIGN, ConfigSettings
from pellucid.family.slots import Sizes, Slot

TYPES = ("gpt_neox",)
_BLOCK = "layers.{layer}"
_BUFFERS = r"layers\.\d+\.attention\.((masked_)?bias|rotary_emb\.inv_freq)|rotary_emb\.inv_freq"
_NEEDS = "a GPT-NeoX config names hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size"


def neox(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder of a GPT-NeoX's config. Raises `SubjectError` for what is malformed or not understood."""
    read = ConfigSettings(fields, path, _NEEDS)
    read.refuse(FOREIGN)
    model, heads = read.size("hidden_size"), read.size("num_attention_heads")
    if model % heads:
        raise SubjectError(f"{path}: hidden_size {model} is not a multiple of num_attention_heads {heads}")
    ends = read.size("vocab_size"), read.size("max_position_embeddings")
    sizes = Sizes(model, heads, heads, model // heads, read.size("intermediate_size"), *ends)
    block = Block(_attention(read, sizes), _mlp(read), read.switch("use_parallel_residual", True))
    return Decoder(
        "gpt_neox",
        sizes,
        (block,) * read.size("num_hidden_layers"),
        embed="embed_in.weight",
        final=_norm(read, "final_layer_norm"),
        unembed=None if read.switch("tie_word_embeddings", False) else "embed_out.weight",
        names=Names(("gpt_neox.",), _BUFFERS, (("lm_head.weight", "embed_out.weight"),), "embed_out.weight"),
    )


def _attention(read: ConfigSettings, sizes: Sizes) -> Attention:
    biased = read.switch("attention_bias", True)
    joint = f"{_BLOCK}.attention.query_key_value"
    q, k, v = (Slot(joint, "head part dim <- model", part, biased) for part in range(3))
    out = Slot(f"{_BLOCK}.attention.dense", "model <- head dim", bias=biased)
    base, share = read.get("rotary_emb_base", 10000.0), read.get("rotary_pct", 0.25)
    turned = rotary(read, sizes.dim, base=base, share=share)
    return Attention(_norm(read, f"{_BLOCK}.input_layernorm"), q, k, v, out, sizes.dim**-0.5, turned)


def _mlp(read: ConfigSettings) -> MLP:
    into = Slot(f"{_BLOCK}.mlp.dense_h_to_4h", "neuron <- model")
    out = Slot(f"{_BLOCK}.mlp.dense_4h_to_h", "model <- neuron")
    norm = _norm(read, f"{_BLOCK}.post_attention_layernorm")
    return MLP(norm, into, out, read.activation("hidden_act", "gelu"))


def _norm(read: ConfigSettings, tensor: str) -> Norm:
    return Norm("layer", tensor, read.number("layer_norm_eps", 1e-5))

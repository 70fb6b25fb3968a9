"""Which configs are understood, and that what is refused is named."""

from __future__ import annotations

from typing import Any

import pytest

import families
from pellucid.base.errors import SubjectError
from pellucid.family.known import FAMILIES, decoder_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "vocab_size": 7,
    "num_key_value_heads": 3,
    "intermediate_size": 5,
    "max_position_embeddings": 32,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}


def test_every_family_is_tested() -> None:
    assert set(FAMILIES) == set(families.FAMILIES)


def test_what_a_config_leaves_out() -> None:
    found = decoder_of({key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}, "config.json")
    at, sizes = found.blocks[0].attention, found.sizes
    assert (sizes.group, sizes.dim, found.tied, found.layers) == (3, 4, False, 2)
    assert at.rotary is not None
    assert (at.rotary.base, at.rotary.dims, at.scale, at.window) == (10000.0, 4, 0.5, None)


def test_positions_are_read_in_both_spellings() -> None:
    old = {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 2.0}}
    assert decoder_of(LLAMA | old, "c") == decoder_of(LLAMA | new, "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "lama"}, "c asks for model_type 'lama'.*did you mean llama"),
        ({"model_type": "qwen3_moe"}, "model_type 'qwen3_moe'.*did you mean qwen3"),
        ({"model_type": ["llama"]}, "asks for model_type"),
        ({"model_type": None}, "has no model_type"),
        ({"num_local_experts": 8, "attention_sinks": True}, "num_local_experts = 8, attention_sinks = True"),
        ({"hidden_size_per_layer_input": 16}, "hidden_size_per_layer_input = 16"),
        ({"full_attention_interval": 4}, "full_attention_interval = 4"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"sliding_window": 8}, "sliding_window = 8"),
        (
            {"model_type": "qwen2", "layer_types": ["full_attention", "linear_attention"]},
            "has 'linear_attention'",
        ),
        ({"model_type": "qwen2", "layer_types": ["full_attention"]}, "one for each of 2 layers"),
        ({"model_type": "qwen3", "layer_types": ["sliding_attention"] * 2}, "there is no sliding_window"),
        ({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
        ({"model_type": "gemma3_text", "rope_parameters": {"rope_theta": 9.0}}, "rope_parameters has rope_theta"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic', which is not supported"),
        ({"rope_scaling": {"type": "longrope"}}, "rope_type 'longrope'"),
        ({"rope_scaling": LLAMA3}, "high_freq_factor is None, expected a number above 0"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "mscale": 1.0}}, "of type linear has mscale"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear', expected an object"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"num_key_value_heads": 2}, "num_attention_heads 3 is not a multiple of num_key_value_heads 2"),
        ({"head_dim": 3}, "head_dim is 3, expected an even number"),
        ({"hidden_act": "xielu"}, "hidden_act 'xielu', which is not supported"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, expected an integer from 1"),
        ({"attention_bias": "no"}, "attention_bias is 'no', expected true or false"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
        ({"model_type": "gpt_neox", "num_attention_heads": 5}, "hidden_size 12 is not a multiple"),
    ],
)
def test_what_is_refused_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SubjectError, match=message):
        decoder_of(LLAMA | changes, "c")

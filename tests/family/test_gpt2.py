"""Configs: what is understood, what is refused, and that the refusal names it."""

from __future__ import annotations

from typing import Any

import pytest

from pellucid.base.errors import SubjectError
from pellucid.family.gpt2 import GPT2Config, tensor_shapes

MINIMAL = {"model_type": "gpt2", "n_layer": 2, "n_head": 3, "n_embd": 12, "n_positions": 8, "vocab_size": 5}


def test_defaults_are_those_of_hugging_face() -> None:
    config = GPT2Config.from_json(MINIMAL, "config.json")
    assert config == GPT2Config(2, 3, 12, n_inner=48, n_positions=8, vocab_size=5)
    assert (config.activation, config.layer_norm_epsilon, config.tied, config.d_head) == ("gelu_new", 1e-5, True, 4)
    assert (config.shape.layers, config.shape.heads, config.shape.neurons, config.shape.tied) == (2, 3, 48, True)


def test_general_names_are_understood() -> None:
    general = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 12, "max_position_embeddings": 8}
    fields = general | {"model_type": "gpt2", "vocab_size": 5}
    assert GPT2Config.from_json(fields, "config.json") == GPT2Config.from_json(MINIMAL, "config.json")


def test_the_attention_scale_follows_its_switches() -> None:
    plain = GPT2Config.from_json(MINIMAL, "config.json")
    by_layer = GPT2Config.from_json(MINIMAL | {"scale_attn_by_inverse_layer_idx": True}, "config.json")
    without = GPT2Config.from_json(MINIMAL | {"scale_attn_weights": False}, "config.json")
    assert [c.attention_scale(1) for c in (plain, by_layer, without)] == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "hooked_transformer"}, r"dir/config.json asks for model_type 'hooked_transformer'.*'gpt2'"),
        ({"model_type": None, "architectures": ["BertModel"]}, r"has no model_type and architectures \['BertModel'\]"),
        ({"model_type": "own", "architectures": "GPT2LMHeadModel"}, "asks for model_type 'own' and architectures"),
        ({"model_type": None, "n_head": None, "num_attention_heads": 3}, "n_head is None"),
        ({"activation_function": "gelu_nwe"}, "activation_function 'gelu_nwe'.*did you mean gelu_new"),
        ({"activation_function": "xielu"}, "activation_function 'xielu', which is not supported"),
        ({"activation_function": ["relu"]}, "not supported"),
        ({"add_cross_attention": True, "is_causal": False}, "add_cross_attention = True, is_causal = False"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"n_head": 5}, "n_embd 12 is not a multiple of n_head 5"),
        ({"n_layer": 0}, "n_layer is 0, expected an integer from 1"),
        ({"n_layer": 10**9}, "n_layer is 1000000000"),
        ({"n_embd": "12"}, "n_embd is '12'"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"n_inner": 2.5}, "n_inner is 2.5"),
        ({"n_positions": None}, "n_positions is None"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true or false"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
    ],
)
def test_what_is_refused_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SubjectError, match=message):
        GPT2Config.from_json(MINIMAL | changes, "dir/config.json")


@pytest.mark.parametrize("key", [key for key in MINIMAL if key != "model_type"])
def test_a_missing_size_is_named(key: str) -> None:
    fields = {name: value for name, value in MINIMAL.items() if name != key}
    with pytest.raises(SubjectError, match=f"lacks '{key}'"):
        GPT2Config.from_json(fields, "config.json")


@pytest.mark.parametrize(
    "fields", [{"model_type": None}, {"model_type": "own", "architectures": ["Other", "GPT2LMHeadModel"]}]
)
def test_a_config_may_name_gpt2_by_its_class_or_by_what_it_has(fields: dict[str, Any]) -> None:
    found = {key: value for key, value in (MINIMAL | fields).items() if value is not None}
    assert GPT2Config.from_json(found, "config.json") == GPT2Config.from_json(MINIMAL, "config.json")
    general = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 12, "max_position_embeddings": 8}
    if "architectures" not in found:
        with pytest.raises(SubjectError, match="has no model_type"):
            GPT2Config.from_json(general | {"vocab_size": 5}, "config.json")


def test_upcast_attention_is_accepted() -> None:
    GPT2Config.from_json(MINIMAL | {"reorder_and_upcast_attn": True}, "config.json")


def test_names_lose_their_prefix_and_buffers_go() -> None:
    canonical_name = GPT2Config.from_json(MINIMAL, "config.json").decoder.names.canonical
    assert canonical_name("transformer.h.3.attn.c_attn.bias") == "h.3.attn.c_attn.bias"
    assert canonical_name("wte.weight") == "wte.weight"
    assert canonical_name("h.11.attn.bias") is None
    assert canonical_name("transformer.h.0.attn.masked_bias") is None


def test_only_an_untied_model_has_an_unembedding() -> None:
    tied, untied = (GPT2Config.from_json(MINIMAL | {"tie_word_embeddings": t}, "c") for t in (True, False))
    assert set(tensor_shapes(untied)) - set(tensor_shapes(tied)) == {"lm_head.weight"}

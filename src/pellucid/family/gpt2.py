"""The GPT-2 family: which configs are understood, and which tensors a checkpoint must hold.

Language models are unsupervised multitask learners (Radford et al., 2019), as Hugging Face `GPT2LMHeadModel` runs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.base.address import Shape
from pellucid.base.errors import SubjectError, closest

ACTIVATIONS = (
    *("gelu_new", "gelu", "gelu_python", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"),
    *("quick_gelu", "relu", "relu2", "relu6", "leaky_relu", "silu", "swish", "mish", "tanh", "sigmoid", "linear"),
)
"""The values of `activation_function` that are understood: those of Hugging Face that have no parameters to learn."""

CLASSES = (
    *("GPT2LMHeadModel", "GPT2DoubleHeadsModel", "GPT2Model", "GPT2ForSequenceClassification"),
    *("GPT2ForTokenClassification", "GPT2ForQuestionAnswering"),
)
"""The classes of Hugging Face, as `architectures` names them, whose checkpoints hold a GPT-2."""

_ALIASES = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_embd": "hidden_size"}
_ALIASES |= {"n_positions": "max_position_embeddings"}
MOST_PIECES = 1 << 21
"""Heads and neurons of the largest program that is read, each for both of its sides."""
_LARGEST = {"n_layer": 1 << 12, "n_head": 1 << 12}


@dataclass(frozen=True)
class GPT2Config:
    """What fixes the function that a GPT-2 checkpoint computes. Field names are those of `config.json`."""

    n_layer: int
    n_head: int
    n_embd: int
    n_inner: int
    n_positions: int
    vocab_size: int
    activation: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tied: bool = True

    @property
    def d_head(self) -> int:
        """Coordinates of one head."""
        return self.n_embd // self.n_head

    @property
    def shape(self) -> Shape:
        """What fixes the set of addresses."""
        return Shape(layers=self.n_layer, heads=self.n_head, neurons=self.n_inner, tied=self.tied)

    def attention_scale(self, layer: int) -> float:
        """What query · key is multiplied by in `layer`."""
        scale = self.d_head**-0.5 if self.scale_attn_weights else 1.0
        return scale / float(layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    @staticmethod
    def from_json(fields: Mapping[str, Any], path: object) -> GPT2Config:
        """Read the contents of a `config.json`; keys that it may leave out default as in Hugging Face.

        Raises `SubjectError` naming `path` for what is missing, malformed, or asks for another function than GPT-2's.
        """
        _refuse_unsupported(fields, path)
        read = _Fields(fields, path)
        n_embd, n_head = read.size("n_embd"), read.size("n_head")
        if n_embd % n_head:
            raise SubjectError(f"{path}: n_embd {n_embd} is not a multiple of n_head {n_head}")
        return GPT2Config(
            n_layer=read.size("n_layer"),
            n_head=n_head,
            n_embd=n_embd,
            n_inner=4 * n_embd if fields.get("n_inner") is None else read.size("n_inner"),
            n_positions=read.size("n_positions"),
            vocab_size=read.size("vocab_size"),
            activation=_activation(fields, path),
            layer_norm_epsilon=read.epsilon("layer_norm_epsilon", 1e-5),
            scale_attn_weights=read.switch("scale_attn_weights", True),
            scale_attn_by_inverse_layer_idx=read.switch("scale_attn_by_inverse_layer_idx", False),
            tied=read.switch("tie_word_embeddings", True),
        )


def _refuse_unsupported(fields: Mapping[str, Any], path: object) -> None:
    """Raise for every setting at once that makes the checkpoint compute something else than a GPT-2 decoder.

    `reorder_and_upcast_attn` is not among them: in float32 it is the same function.
    """
    if not _is_gpt2(fields):
        model_type, classes = fields.get("model_type"), fields.get("architectures")
        said = "has no model_type" if model_type is None else f"asks for model_type {model_type!r:.60}"
        also = f" and architectures {classes!r:.100}" if classes else ""
        raise SubjectError(f"{path} {said}{also}; supported is 'gpt2' (GPT2LMHeadModel)")
    plain: dict[str, tuple[object, ...]] = {"add_cross_attention": (False, None), "is_causal": (True, None)}
    plain |= {"pruned_heads": ({}, None), "quantization_config": (None,)}
    wrong = [f"{key} = {fields[key]!r}" for key, allowed in plain.items() if fields.get(key) not in allowed]
    if wrong:
        raise SubjectError(f"{path} asks for what is not supported: {', '.join(wrong)}")


def _is_gpt2(fields: Mapping[str, Any]) -> bool:
    """Whether a config says that its model is a GPT-2: by its type, by its class, or by names that GPT-2 alone has."""
    if fields.get("model_type") == "gpt2":
        return True
    if classes := fields.get("architectures"):
        return isinstance(classes, list) and any(name in CLASSES for name in classes)
    return fields.get("model_type") is None and {"n_layer", "n_head", "n_embd", "n_positions"} <= set(fields)


def _activation(fields: Mapping[str, Any], path: object) -> str:
    name = fields.get("activation_function", "gelu_new")
    if name not in ACTIVATIONS:
        near = closest(str(name), list(ACTIVATIONS)) or f"; supported are {', '.join(ACTIVATIONS)}"
        raise SubjectError(f"{path} asks for activation_function {name!r}, which is not supported{near}")
    return str(name)


@dataclass(frozen=True)
class _Fields:
    """Typed access to a config whose values may be anything."""

    fields: Mapping[str, Any]
    path: object

    def size(self, key: str) -> int:
        """A positive integer that must be there, under its GPT-2 name or its general one."""
        alias = _ALIASES.get(key, key)
        if key not in self.fields and alias not in self.fields:
            raise SubjectError(f"{self.path} lacks {key!r}; a GPT-2 config names n_layer, n_head, n_embd, n_positions")
        value = self.fields.get(key, self.fields.get(alias))
        largest = _LARGEST.get(key, 1 << 24)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected an integer from 1 to {largest}")
        return value

    def switch(self, key: str, default: bool) -> bool:
        value = self.fields.get(key, default)
        if not isinstance(value, bool):
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected true or false")
        return value

    def epsilon(self, key: str, default: float) -> float:
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected a number of at least 0")
        return float(value)


def require_possible(config: GPT2Config) -> None:
    """Raise `ValueError` where a config that may come from anybody is not that of a model that can be worked with.

    All that follows from it, such as its addresses, is made in memory.
    """
    for key in ("n_layer", "n_head", "n_embd", "n_inner", "n_positions", "vocab_size"):
        value, largest = getattr(config, key), _LARGEST.get(key, 1 << 24)
        if not 1 <= value <= largest:
            raise ValueError(f"{key} is {value}, expected an integer from 1 to {largest:,}")
    if not 0 <= config.layer_norm_epsilon < math.inf:
        raise ValueError(f"layer_norm_epsilon is {config.layer_norm_epsilon}, expected a number of at least 0")
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"activation is {config.activation!r:.40}, expected one of {', '.join(ACTIVATIONS)}")
    if config.n_embd % config.n_head:
        raise ValueError(f"n_embd {config.n_embd} is not a multiple of n_head {config.n_head}")
    pieces = 2 * config.n_layer * (config.n_head + config.n_inner)
    if pieces > MOST_PIECES:
        raise ValueError(f"it asks for {pieces:,} heads and neurons, twice each; at most {MOST_PIECES:,} are handled")


def tensor_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """The parameters that a checkpoint of `config` holds, by canonical name, with their shapes.

    Canonical names are those of Hugging Face without the prefix `transformer.`; `lm_head.weight` only where untied.
    """
    model, neurons = config.n_embd, config.n_inner
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (config.vocab_size, model),
        "wpe.weight": (config.n_positions, model),
    }
    for layer in range(config.n_layer):
        block: dict[str, tuple[int, ...]] = {
            "ln_1.weight": (model,),
            "ln_1.bias": (model,),
            "attn.c_attn.weight": (model, 3 * model),
            "attn.c_attn.bias": (3 * model,),
            "attn.c_proj.weight": (model, model),
            "attn.c_proj.bias": (model,),
            "ln_2.weight": (model,),
            "ln_2.bias": (model,),
            "mlp.c_fc.weight": (model, neurons),
            "mlp.c_fc.bias": (neurons,),
            "mlp.c_proj.weight": (neurons, model),
            "mlp.c_proj.bias": (model,),
        }
        shapes |= {f"h.{layer}.{name}": shape for name, shape in block.items()}
    shapes |= {"ln_f.weight": (model,), "ln_f.bias": (model,)}
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab_size, model)
    return shapes


def canonical_name(name: str) -> str | None:
    """The canonical name of a tensor of a checkpoint; None for the causal-mask buffers that old checkpoints carry."""
    plain = name.removeprefix("transformer.")
    return None if re.fullmatch(r"h\.\d+\.attn\.(masked_)?bias", plain) else plain

"""The GPT-2 family: which configs are understood, and which tensors a checkpoint must hold.

Language models are unsupervised multitask learners (Radford et al., 2019), as Hugging Face `GPT2LMHeadModel` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pellucid.base.address import Shape
from pellucid.base.errors import SubjectError
from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.names import Names
from pellucid.family.possible import require_few
from pellucid.family.settings import ConfigSettings
from pellucid.family.shapes import shapes
from pellucid.family.slots import Sizes, Slot

CLASSES = (
    *("GPT2LMHeadModel", "GPT2DoubleHeadsModel", "GPT2Model", "GPT2ForSequenceClassification"),
    *("GPT2ForTokenClassification", "GPT2ForQuestionAnswering"),
)
"""The classes of Hugging Face, as `architectures` names them, whose checkpoints hold a GPT-2."""

HUB = {name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}
HUB["distilgpt2"] = "distilbert/distilgpt2"
"""Names on the hub that have no owner in front, with those that they are kept under."""
_ALIASES = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_embd": "hidden_size"}
_ALIASES |= {"n_positions": "max_position_embeddings"}
_NEEDS = "a GPT-2 config names n_layer, n_head, n_embd, n_positions"
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
    def decoder(self) -> Decoder:
        """What it is made of, and where its numbers lie."""
        return decoder(self)

    @property
    def shape(self) -> Shape:
        """What fixes the set of addresses."""
        return self.decoder.addresses

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
        read = ConfigSettings(fields, path, _NEEDS, _ALIASES, _LARGEST)
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
            activation=read.activation("activation_function", "gelu_new"),
            layer_norm_epsilon=read.number("layer_norm_epsilon", 1e-5),
            scale_attn_weights=read.switch("scale_attn_weights", True),
            scale_attn_by_inverse_layer_idx=read.switch("scale_attn_by_inverse_layer_idx", False),
            tied=read.switch("tie_word_embeddings", True),
        )


def _refuse_unsupported(fields: Mapping[str, Any], path: object) -> None:
    """Raise for every setting at once that makes the checkpoint compute something else than a GPT-2 decoder.

    `reorder_and_upcast_attn` is not among them: in float32 it is the same function.
    """
    if not is_gpt2(fields):
        model_type, classes = fields.get("model_type"), fields.get("architectures")
        said = "has no model_type" if model_type is None else f"asks for model_type {model_type!r:.60}"
        also = f" and architectures {classes!r:.100}" if classes else ""
        raise SubjectError(f"{path} {said}{also}; supported is 'gpt2' (GPT2LMHeadModel)")
    plain: dict[str, tuple[object, ...]] = {"add_cross_attention": (False,), "is_causal": (True,)}
    ConfigSettings(fields, path, _NEEDS).refuse(plain | {"pruned_heads": ({},), "quantization_config": ()})


def is_gpt2(fields: Mapping[str, Any]) -> bool:
    """Whether a config says that its model is a GPT-2: by its type, by its class, or by names that GPT-2 alone has."""
    if fields.get("model_type") == "gpt2":
        return True
    if classes := fields.get("architectures"):
        return isinstance(classes, list) and any(name in CLASSES for name in classes)
    return fields.get("model_type") is None and {"n_layer", "n_head", "n_embd", "n_positions"} <= set(fields)


def require_possible(config: GPT2Config) -> None:
    """Raise `ValueError` where a config that may come from anybody is not that of a model that can be worked with.

    All that follows from it, such as its addresses, is made in memory.
    """
    if config.n_head > 0 and config.n_embd % config.n_head:
        raise ValueError(f"model {config.n_embd} is not a multiple of heads {config.n_head}")
    require_few(config.n_layer, _sizes(config), config.activation, config.layer_norm_epsilon)


def _sizes(config: GPT2Config) -> Sizes:
    dim = config.n_embd // max(1, config.n_head)
    return Sizes(
        *(config.n_embd, config.n_head, config.n_head, dim), *(config.n_inner, config.vocab_size, config.n_positions)
    )


@lru_cache(maxsize=32)
def decoder(config: GPT2Config) -> Decoder:
    """What a GPT-2 is made of: one tensor for queries, keys and values, rows as inputs, learned positions."""
    block = "h.{layer}"
    sizes = _sizes(config)

    def norm(name: str) -> Norm:
        return Norm("layer", name, config.layer_norm_epsilon)

    q, k, v = (Slot(f"{block}.attn.c_attn", "model -> part head dim", part) for part in range(3))
    out = Slot(f"{block}.attn.c_proj", "head dim -> model")
    into, back = Slot(f"{block}.mlp.c_fc", "model -> neuron"), Slot(f"{block}.mlp.c_proj", "neuron -> model")
    mlp = MLP(norm(f"{block}.ln_2"), into, back, config.activation)
    scales = map(config.attention_scale, range(config.n_layer))
    return Decoder(
        "gpt2",
        sizes,
        tuple(Block(Attention(norm(f"{block}.ln_1"), q, k, v, out, scale), mlp) for scale in scales),
        embed="wte.weight",
        final=norm("ln_f"),
        unembed=None if config.tied else "lm_head.weight",
        positions="wpe.weight",
        upcast=False,
        names=Names(
            ("transformer.",),
            r"h\.\d+\.attn\.(masked_)?bias",
            model_type="gpt2",
            architecture="GPT2LMHeadModel",
        ),
    )


def gpt2(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder of a GPT-2's config. Raises `SubjectError` as `GPT2Config.from_json` does."""
    return GPT2Config.from_json(fields, path).decoder


def fields_of(config: GPT2Config) -> dict[str, Any]:
    """The `config.json` of a checkpoint of `config`."""
    names = ("n_layer", "n_head", "n_embd", "n_inner", "n_positions", "vocab_size", "layer_norm_epsilon")
    more = {"activation_function": config.activation, "scale_attn_weights": config.scale_attn_weights}
    by_layer = {"scale_attn_by_inverse_layer_idx": True} if config.scale_attn_by_inverse_layer_idx else {}
    own = {name: getattr(config, name) for name in names}
    return {"model_type": "gpt2", **own, **more, **by_layer, "tie_word_embeddings": config.tied}


def tensor_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """The parameters that a checkpoint of `config` holds, by canonical name, with their shapes.

    Canonical names are those of Hugging Face without the prefix `transformer.`; `lm_head.weight` only where untied.
    """
    return shapes(config.decoder)

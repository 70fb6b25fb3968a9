"""What GGUF files call the settings and tensors of each family, and what writing them there did to the numbers.

The format is llama.cpp's (docs/gguf.md of ggml); `subject/gguf_file.py` reads it. A file's settings become those of a
`config.json`, which the family's own reader then understands or refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pellucid.base.errors import SubjectError, closest

ARCHITECTURE = "general.architecture"
FREQUENCIES = "rope_freqs.weight"
"""What the turns of pairs are divided by, in files of models with Llama 3's stretched positions."""
_BLOCK = re.compile(r"blk\.(\d{1,5})\.(\w+)\.(weight|bias)")
_END = re.compile(r"(\w+)\.(weight|bias)")
_TRAINED, _LOW, _HIGH = 8192, 1.0, 4.0
"""What all Llama 3.1 to 3.3 say of their stretched positions; files keep the result alone."""


@dataclass(frozen=True)
class FileNames:
    """Canonical names by those of a file: of a block (`prefix` with the layer before them), and of the ends.

    `paired`: rows of queries and keys that turn together are neighbours. `raised`: gains of norms are 1 more than in a
    checkpoint. `columns`: matrices, rows as outputs, are stored with rows as inputs in a checkpoint.
    """

    prefix: str
    block: Mapping[str, str]
    ends: Mapping[str, str]
    paired: bool = False
    raised: bool = False
    columns: tuple[str, ...] = ()

    def canonical(self, name: str) -> str | None:
        """The canonical name of a tensor of a file; None for what is not known."""
        if found := _BLOCK.fullmatch(name):
            own = self.block.get(found[2])
            return own and f"{self.prefix.format(layer=int(found[1]))}.{own}.{found[3]}"
        found = _END.fullmatch(name)
        return f"{self.ends[found[1]]}.{found[2]}" if found and found[1] in self.ends else None


@dataclass(frozen=True)
class Architecture:
    """One of `general.architecture`: names of tensors, and what makes a config of its settings."""

    names: FileNames
    config: Callable[[Metadata], dict[str, Any]]


@dataclass
class Metadata:
    """The settings of the file at `path`; what was read is remembered, so that what was not can be refused."""

    values: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    path: object

    def __post_init__(self) -> None:
        self.kind = str(self.values.get(ARCHITECTURE))
        self._read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a setting of the architecture."""
        self._read.add(f"{self.kind}.{key}")
        return _plain(self.values.get(f"{self.kind}.{key}", default))

    def need(self, key: str) -> Any:
        """The value of a setting that must be there."""
        value = self.get(key)
        if value is None:
            raise SubjectError(f"{self.path} lacks {self.kind}.{key}")
        return value

    def same(self, key: str, default: Any = None) -> Any:
        """The value of a setting that may be listed layer by layer, and must be the same in all."""
        value = self.get(key, default)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise SubjectError(f"{self.path}: {self.kind}.{key} differs from layer to layer, which is not supported")
        return value[0]

    def refuse_unread(self) -> None:
        """Raise for settings of the architecture that nothing has read."""
        unread = [key for key in self.values if key.startswith(f"{self.kind}.") and key not in self._read]
        if wrong := [f"{key} = {_plain(self.values[key])!r:.60}" for key in unread if not _is_off(self.values[key])]:
            raise SubjectError(f"{self.path} asks for what is not supported: {', '.join(wrong)}")


def _plain(value: Any) -> Any:
    """A value as JSON has it; a float32 as the shortest number that it stands for."""
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


def _is_off(value: Any) -> bool:
    return value is None or (not isinstance(value, np.ndarray | list) and not value)


# --- architectures ----------------------------------------------------------------------------------------------------


def _common(of: Metadata, kind: str, norm: str = "layer_norm_rms_epsilon") -> dict[str, Any]:
    """The settings that all have, as Llama's configs name them."""
    heads = of.same("attention.head_count")
    width = of.need("embedding_length")
    dim = of.get("attention.key_length", width // heads if isinstance(heads, int) and heads else None)
    for key in ("attention.value_length", "rope.dimension_count"):
        if (other := of.get(key, dim)) != dim:
            raise SubjectError(
                f"{of.path} asks for what is not supported: {of.kind}.{key} = {other!r}, keys have {dim}"
            )
    of.get("vocab_size")
    layers = of.need("block_count")
    if isinstance(layers, int) and layers > len(of.shapes):
        raise SubjectError(f"{of.path} claims to have {layers:,} blocks, and has {len(of.shapes)} tensors")
    return {
        "model_type": kind,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": of.same("attention.head_count_kv", heads),
        "head_dim": dim,
        "intermediate_size": of.same("feed_forward_length"),
        "max_position_embeddings": of.need("context_length"),
        "rms_norm_eps": of.need(f"attention.{norm}"),
        "vocab_size": of.shapes.get("token_embd.weight", (0,))[0],
        "tie_word_embeddings": "output.weight" not in of.shapes,
    }


def _positions(of: Metadata, base: float) -> dict[str, Any]:
    """Rotary positions, as `rope_parameters` has them."""
    found: dict[str, Any] = {"rope_theta": of.get("rope.freq_base", base), "rope_type": "default"}
    kind, factor = of.get("rope.scaling.type", "none"), of.get("rope.scaling.factor")
    trained = of.get("rope.scaling.original_context_length")
    of.get("rope.scaling.finetuned")
    if kind == "yarn":
        return found | {"rope_type": kind, "factor": factor, "original_max_position_embeddings": trained}
    if kind == "linear" and factor != 1:
        return found | {"rope_type": kind, "factor": factor}
    if kind not in ("none", "linear"):
        raise SubjectError(f"{of.path} asks for what is not supported: {of.kind}.rope.scaling.type = {kind!r:.40}")
    return found


def _llama(of: Metadata) -> dict[str, Any]:
    window = of.get("attention.sliding_window")
    found = _common(of, "llama" if window is None else "mistral") | {"rope_parameters": _positions(of, 10000.0)}
    if window is not None:
        return found | {"sliding_window": window}
    biases = {"attention_bias": "blk.0.attn_q.bias" in of.shapes, "mlp_bias": "blk.0.ffn_up.bias" in of.shapes}
    return found | biases


def _qwen2(of: Metadata) -> dict[str, Any]:
    return _common(of, "qwen2") | {"rope_parameters": _positions(of, 10000.0)}


def _qwen3(of: Metadata) -> dict[str, Any]:
    biased = {"attention_bias": "blk.0.attn_q.bias" in of.shapes}
    return _common(of, "qwen3") | biased | {"rope_parameters": _positions(of, 10000.0)}


def _gemma(of: Metadata, kind: str, large: int) -> dict[str, Any]:
    """What both Gemmas say; the largest of each, with `large` layers, divides scores by what follows from its width."""
    found = _common(of, kind)
    per_head = found["hidden_size"] // found["num_attention_heads"]
    caps = {name: of.get(key) for name, key in _CAPS.items()}
    return found | {
        "query_pre_attn_scalar": per_head if found["num_hidden_layers"] == large else found["head_dim"],
        "sliding_window": of.need("attention.sliding_window"),
        "hidden_activation": "gelu_pytorch_tanh",
        **{name: cap for name, cap in caps.items() if cap is not None},
    }


_CAPS = {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping"}


def _gemma2(of: Metadata) -> dict[str, Any]:
    return _gemma(of, "gemma2", 46) | {"rope_parameters": _positions(of, 10000.0)}


def _gemma3(of: Metadata) -> dict[str, Any]:
    near = {"rope_type": "default", "rope_theta": of.get("rope.local.freq_base", of.get("rope.freq_base_swa", 10000.0))}
    every = of.get("attention.sliding_window_pattern", 6)
    positions = {"full_attention": _positions(of, 1e6), "sliding_attention": near}
    return _gemma(of, "gemma3_text", 62) | {"sliding_window_pattern": every, "rope_parameters": positions}


def _gpt2(of: Metadata) -> dict[str, Any]:
    found = _common(of, "gpt2", "layer_norm_epsilon")
    return {
        "model_type": "gpt2",
        "n_embd": found["hidden_size"],
        "n_layer": found["num_hidden_layers"],
        "n_head": found["num_attention_heads"],
        "n_inner": found["intermediate_size"],
        "n_positions": found["max_position_embeddings"],
        "layer_norm_epsilon": found["rms_norm_eps"],
        "vocab_size": found["vocab_size"],
        "tie_word_embeddings": found["tie_word_embeddings"],
    }


_ROTARY_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    **{f"attn_{letter}": f"self_attn.{letter}_proj" for letter in "qkv"},
    **{f"attn_{letter}_norm": f"self_attn.{letter}_norm" for letter in "qk"},
    **{f"ffn_{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}
_ROTARY_ENDS = {"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"}
_GEMMA_BLOCK = _ROTARY_BLOCK | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GPT2_BLOCK = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_GPT2_ENDS = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", "output": "lm_head"}
_LAYER = "layers.{layer}"
_PLAIN = FileNames(_LAYER, _ROTARY_BLOCK, _ROTARY_ENDS)
_RAISED = FileNames(_LAYER, _GEMMA_BLOCK, _ROTARY_ENDS, raised=True)
_COLUMNS = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "llama": Architecture(FileNames(_LAYER, _ROTARY_BLOCK, _ROTARY_ENDS, paired=True), _llama),
    "qwen2": Architecture(_PLAIN, _qwen2),
    "qwen3": Architecture(_PLAIN, _qwen3),
    "gemma2": Architecture(_RAISED, _gemma2),
    "gemma3": Architecture(_RAISED, _gemma3),
    "gpt2": Architecture(FileNames("h.{layer}", _GPT2_BLOCK, _GPT2_ENDS, columns=_COLUMNS), _gpt2),
}
"""What is understood, by `general.architecture`."""


def architecture_of(values: Mapping[str, Any], path: object) -> Architecture:
    """What the file at `path` says that it is. Raises `SubjectError` naming near ones for what is not known."""
    kind = values.get(ARCHITECTURE)
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        near = closest(str(kind), [*ARCHITECTURES])
        said = f"{path} has {ARCHITECTURE} {kind!r:.60}; supported are {', '.join(map(repr, ARCHITECTURES))}{near}"
        raise SubjectError(said)
    return ARCHITECTURES[kind]


def config_of(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: object) -> dict[str, Any]:
    """The settings of the file at `path` as a `config.json` has them; `shapes` are those of its tensors.

    Raises `SubjectError` for settings that are missing, and for those that are not understood.
    """
    of = Metadata(values, shapes, path)
    try:
        fields = architecture_of(values, path).config(of)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise SubjectError(f"{path} has settings of other kinds than expected: {error}") from error
    of.refuse_unread()
    return fields | _ends(values)


def _ends(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens that begin and end texts."""
    keys = {"bos_token_id": "tokenizer.ggml.bos_token_id", "eos_token_id": "tokenizer.ggml.eos_token_id"}
    return {name: int(values[key]) for name, key in keys.items() if isinstance(values.get(key), int | np.integer)}


def stretched(fields: dict[str, Any], divisors: np.ndarray, path: object) -> dict[str, Any]:
    """`fields` with the stretched positions that `divisors` of the pairs' turns are the result of.

    Raises `SubjectError` where they are no known one's.
    """
    positions = fields.get("rope_parameters", {})
    base, count, factor = positions.get("rope_theta", 10000.0), len(divisors), float(divisors.max(initial=1.0))
    rates = 1.0 / float(base) ** (np.arange(count, dtype=np.float64) / max(1, count))
    share = (_TRAINED * rates / (2 * np.pi) - _LOW) / (_HIGH - _LOW)
    mixed = 1 / ((1 - np.clip(share, 0, 1)) / factor + np.clip(share, 0, 1))
    if positions.get("rope_type") != "default" or not np.allclose(mixed, divisors, rtol=1e-4):
        raise SubjectError(f"{path}: {FREQUENCIES} stretches positions in a way that is not understood")
    own = {"low_freq_factor": _LOW, "high_freq_factor": _HIGH, "original_max_position_embeddings": _TRAINED}
    if factor == 1:
        return fields
    return fields | {"rope_parameters": positions | {"rope_type": "llama3", "factor": factor} | own}


# --- numbers ----------------------------------------------------------------------------------------------------------


def undone(names: FileNames, name: str, array: np.ndarray, heads: Mapping[str, int]) -> np.ndarray:
    """A tensor of a file as a checkpoint has it. `heads` says how many queries and keys have, by `attn_q`, `attn_k`."""
    own = name.split(".")[-2]
    if names.paired and own in heads and len(array) % (2 * heads[own]) == 0:
        paired = array.reshape(heads[own], len(array) // heads[own] // 2, 2, *array.shape[1:])
        return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(array.shape)
    if names.raised and own.endswith("norm"):
        return array - np.float32(1)
    return np.ascontiguousarray(array.T) if own in names.columns and array.ndim == 2 else array


# --- tokenizers -------------------------------------------------------------------------------------------------------

_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_UNCUT = _BYTES | {"use_regex": False}


def _regex(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_DIGITS = {"type": "Digits", "individual_digits": True}
_PRE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("gpt-2", "gpt2", "olmo", "phi-2", "mpt", "exaone", "jais", "roberta-bpe"), _BYTES),
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "dbrx", "smaug-bpe"), _sequence(_regex(_CUTS), _UNCUT)
    ),
    **dict.fromkeys(
        ("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"), _sequence(_regex(_CUTS.replace("{1,3}", "")), _UNCUT)
    ),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _sequence(_DIGITS, _BYTES)),
}
"""Pre-tokenizers by the names that files give them."""
_NORMAL = {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"}
"""Those before which text is put into Unicode's normal form."""


@dataclass(frozen=True)
class Pre:
    """How a file says that text is cut: steps as a tokenizer.json has them; `blanks`: SentencePiece's kind."""

    normalizer: dict[str, Any] | None
    pre_tokenizer: dict[str, Any] | None
    blanks: bool


def pre_of(values: Mapping[str, Any]) -> Pre:
    """What a file's tokenizer does to text. Raises `ValueError` naming a kind that is not known."""
    model, name = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre", "default")
    if model == "llama":
        spaced = values.get("tokenizer.ggml.add_space_prefix", True)
        swap = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        steps = [{"type": "Prepend", "prepend": "▁"}, swap] if spaced else [swap]
        return Pre({"type": "Sequence", "normalizers": steps}, None, True)
    if model != "gpt2":
        raise ValueError(f"tokenizer.ggml.model {model!r:.40}")
    if name not in _PRE:
        raise ValueError(f"tokenizer.ggml.pre {name!r:.40}{closest(str(name), [*_PRE])}")
    return Pre({"type": "NFC"} if name in _NORMAL else None, _PRE[str(name)], False)


def ignoring_merges(values: Mapping[str, Any]) -> bool:
    """Whether a stretch of text that is a token is not merged, as in Llama 3's tokenizer."""
    return values.get("tokenizer.ggml.pre") in ("llama-bpe", "llama3", "llama-v3", "falcon3")


def iterated(values: Mapping[str, Any], key: str) -> Iterator[Any]:
    """The entries of a list of the tokenizer's."""
    found = values.get(f"tokenizer.ggml.{key}")
    yield from found if isinstance(found, list | np.ndarray) else ()

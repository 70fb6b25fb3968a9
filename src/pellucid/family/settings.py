"""A `config.json`, whose values may be anything: typed reading, and refusal of what changes the function unread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.family.activations import is_known, unknown

TIED = "tie_word_embeddings"
"""The setting that the embedding also says the logits."""
LARGEST = 1 << 24
"""The largest size that is read."""


@dataclass(frozen=True)
class ConfigSettings:
    """The contents of the `config.json` at `path`; `aliases` are second names of keys, `needs` says what must be there.

    Reading raises `SubjectError` naming `path`, the key, and what was expected.
    """

    fields: Mapping[str, Any]
    path: object
    needs: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where it is absent or null."""
        value = self.fields.get(key)
        return default if value is None else value

    def size(self, key: str, default: int | None = None) -> int:
        """A positive integer, which must be there unless there is a `default`."""
        alias = self.aliases.get(key, key)
        if default is not None and self.fields.get(key) is None:
            return default
        if key not in self.fields and alias not in self.fields:
            raise SubjectError(f"{self.path} lacks {key!r}; {self.needs}")
        value, largest = self.fields.get(key, self.fields.get(alias)), self.largest.get(key, LARGEST)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected an integer from 1 to {largest}")
        return value

    def maybe_size(self, key: str, default: int | None = None) -> int | None:
        """A positive integer, or None where the config says null; `default` where it says nothing."""
        if key not in self.fields:
            return default
        return None if self.fields[key] is None else self.size(key)

    def switch(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.fields.get(key, default)
        if not isinstance(value, bool):
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected true or false")
        return value

    def number(self, key: str, default: float) -> float:
        """A number of at least 0."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise SubjectError(f"{self.path}: {key} is {value!r}, expected a number of at least 0")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        """A number above 0, which must be there unless there is a `default`."""
        value = default if self.fields.get(key) is None else self.number(key, 0.0)
        if not value:
            raise SubjectError(f"{self.path}: {key} is {self.fields.get(key)!r}, expected a number above 0")
        return value

    def maybe(self, key: str, default: float | None = None) -> float | None:
        """A number above 0, or None where the config says null; `default` where it says nothing."""
        if key not in self.fields:
            return default
        return None if self.fields[key] is None else self.positive(key)

    def activation(self, key: str, default: str) -> str:
        """The name of an activation function that is understood."""
        name = self.fields.get(key, default)
        if not is_known(name):
            raise SubjectError(f"{self.path} asks for {key} {name!r}, which is not supported{unknown(name)}")
        return str(name)

    def table(self, key: str) -> dict[str, Any]:
        """A JSON object; an empty one where there is none."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise SubjectError(f"{self.path}: {key} is {value!r:.60}, expected an object")
        return value

    def inner(self, key: str, fields: Mapping[str, Any]) -> ConfigSettings:
        """The settings `fields` that lie under `key`."""
        return ConfigSettings(fields, f"{self.path}: {key}", f"{key} needs it")

    def refuse(self, unless: Mapping[str, tuple[object, ...]]) -> None:
        """Raise for all keys at once whose values are not among those that change nothing."""
        wrong = [
            f"{key} = {self.fields[key]!r:.60}" for key, fine in unless.items() if self.get(key) not in (None, *fine)
        ]
        if wrong:
            raise SubjectError(f"{self.path} asks for what is not supported: {', '.join(wrong)}")


_OFF: tuple[object, ...] = (False, 0, {}, [], "")
FOREIGN: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("add_cross_attention", "is_encoder_decoder", "pruned_heads", "quantization_config"), _OFF),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "ffn_config"), _OFF),
    **dict.fromkeys(("moe_intermediate_size", "num_experts_per_tok", "shared_expert_intermediate_size"), _OFF),
    **dict.fromkeys(("linear_num_key_heads", "linear_key_head_dim", "full_attention_interval", "attn_config"), _OFF),
    **dict.fromkeys(("attention_sinks", "sinks", "num_sink_tokens", "attention_chunk_size"), _OFF),
    **dict.fromkeys(("hidden_size_per_layer_input", "vocab_size_per_layer_input", "laurel_rank"), _OFF),
    **dict.fromkeys(("altup_num_inputs", "activation_sparsity_pattern", "num_kv_shared_layers"), _OFF),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), _OFF),
    **dict.fromkeys(("no_rope_layers", "no_rope_layer_interval", "attn_temperature_tuning", "use_qk_norm"), _OFF),
    **dict.fromkeys(("ssm_cfg", "mamba_d_state", "alibi", "use_bidirectional_attention", "clip_qkv"), _OFF),
    **dict.fromkeys(("attn_logit_cap", "mtp_num_layers", "num_nextn_predict_layers", "vision_config"), _OFF),
    **dict.fromkeys(("residual_multiplier", "embedding_multiplier", "logits_scaling", "logit_scale"), (1, *_OFF)),
}
"""Settings of other families that change the function, with the values at which they do not."""

"""A model that is made and not read: its decoder, and the `config.json` of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pellucid.family.blocks import Decoder
from pellucid.family.gpt2 import GPT2Config, fields_of
from pellucid.family.slots import Sizes


@dataclass(frozen=True)
class Made:
    """What a model is made of, and what its config says."""

    decoder: Decoder
    fields: dict[str, Any] = field(repr=False)


def made(layers: int, sizes: Sizes, *, activation: str, epsilon: float) -> Made:
    """A model with norms that centre, a table of positions and an unembedding of its own, whose scores are not scaled.

    It has as many heads of keys as of queries, which divide the width among them.
    """
    config = GPT2Config(
        *(layers, sizes.head, sizes.model, sizes.neuron, sizes.pos, sizes.vocab),
        activation=activation,
        layer_norm_epsilon=epsilon,
        scale_attn_weights=False,
        tied=False,
    )
    return Made(config.decoder, fields_of(config))

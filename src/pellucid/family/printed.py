"""What `CONFIG` in the `model.py` of a program says of the model, and the decoder that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pellucid.base.errors import SourceError
from pellucid.base.schema import fitting
from pellucid.family.blocks import Decoder
from pellucid.family.gpt2 import GPT2Config, decoder, require_possible

_FIELDS: Final = {
    "layers": "n_layer",
    "heads": "n_head",
    "model": "n_embd",
    "neurons": "n_inner",
    "positions": "n_positions",
    "vocabulary": "vocab_size",
    "activation": "activation",
    "layer_norm_epsilon": "layer_norm_epsilon",
    "scale_attn_weights": "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx": "scale_attn_by_inverse_layer_idx",
    "tied": "tied",
}
"""The fields of `CONFIG`, with their names in `GPT2Config`."""


def printed(of: Decoder) -> dict[str, object]:
    """What `CONFIG` says of a decoder."""
    sizes, scales = of.sizes, [block.attention.scale for block in of.blocks]
    return {
        "layers": of.layers,
        "heads": sizes.head,
        "model": sizes.model,
        "neurons": sizes.neuron,
        "positions": sizes.pos,
        "vocabulary": sizes.vocab,
        "activation": of.activation,
        "layer_norm_epsilon": of.final.epsilon,
        "scale_attn_weights": scales[0] == sizes.dim**-0.5,
        "scale_attn_by_inverse_layer_idx": len(scales) > 1 and scales[1] == scales[0] / 2,
        "tied": of.tied,
    }


def read(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder that `CONFIG` in the file `path` describes.

    Raises `SourceError` naming `path` for fields of other kinds, `KeyError` and `ValueError` for what describes none.
    """
    config = fitting(GPT2Config, {_FIELDS[key]: value for key, value in fields.items()}, str(path), SourceError)
    require_possible(config)
    return decoder(config)

"""Small random dictionaries of every kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.dictionary.dictionary import Dictionary, Kind


def drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def random_dictionary(
    kind: Kind = "sae", firing: str = "jumprelu", *, layers: int = 1, width: int = 12, model: int = 8, **more: Any
) -> Dictionary:
    """A dictionary whose vectors have length 1; of an autoencoder the offset is taken from the input."""
    reach = [layers - layer if kind == "crosslayer" else 1 for layer in range(layers)]
    vectors = [drawn(to, width, model, seed=10 + layer) for layer, to in enumerate(reach)]
    offset = drawn(layers, model, seed=3)
    reads = tuple(f"L{layer:02d}.{'mlp_out' if kind == 'sae' else 'LN2'}" for layer in range(layers))
    held: dict[str, Any] = {
        "kind": kind,
        "reads": reads,
        "writes": tuple(f"L{layer:02d}.mlp_out" for layer in range(layers)),
        "encoder": drawn(layers, model, width, seed=1),
        "bias": drawn(layers, width, seed=2),
        "decoders": tuple(one / one.square().sum((0, 2)).sqrt()[:, None] for one in vectors),
        "offset": offset,
        "firing": firing,
        "thresholds": drawn(layers, width, seed=4).abs() if firing == "jumprelu" else None,
        "k": 3 if firing == "topk" else None,
        "center": offset if kind == "sae" else None,
        "skip": drawn(layers, model, model, seed=5) if kind == "skip-transcoder" else None,
    }
    return Dictionary(**(held | more))

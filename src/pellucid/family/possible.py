"""What a description that may come from anybody can be at most: all that follows from it is made in memory."""

from __future__ import annotations

import math

from pellucid.family.activations import is_known, unknown
from pellucid.family.settings import LARGEST
from pellucid.family.slots import Sizes

MOST_PIECES = 1 << 21
"""Heads and neurons of the largest program that is read, each for both of its sides."""
MOST = 1 << 12
"""The most layers, and heads of a layer."""


def require_few(layers: int, sizes: Sizes, activation: str, epsilon: float) -> None:
    """Raise `ValueError` where a model of these sizes cannot be worked with, or is none."""
    held = {"layers": layers, "model": sizes.model, "heads": sizes.head, "groups": sizes.group, "dim": sizes.dim}
    held |= {"neurons": sizes.neuron, "positions": sizes.pos, "vocabulary": sizes.vocab}
    for name, value in held.items():
        largest = MOST if name in ("layers", "heads", "groups") else LARGEST
        if not 1 <= value <= largest:
            raise ValueError(f"{name} is {value}, expected an integer from 1 to {largest:,}")
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"epsilon is {epsilon}, expected a number of at least 0")
    if not is_known(activation):
        raise ValueError(f"activation is {activation!r:.40}, which is not supported{unknown(activation)}")
    if sizes.head % sizes.group:
        raise ValueError(f"{sizes.head} heads cannot be shared out among {sizes.group} groups")
    pieces = 2 * layers * (sizes.head + sizes.neuron)
    if pieces > MOST_PIECES:
        raise ValueError(f"it asks for {pieces:,} heads and neurons, twice each; at most {MOST_PIECES:,} are handled")

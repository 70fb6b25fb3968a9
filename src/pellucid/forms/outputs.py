"""What parts put out in a forward pass, kind by kind: what a form takes the place of, and how the rest follows from it.

A head puts out scores (QK) and what it mixes by its pattern (OV); a neuron its pre-activation (IN; a gated one its
activation, which is a product) and its activation (OUT). How much a change of it matters is weighed one step behind: on
the pattern, and on the activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.address import Address, PartKind
from pellucid.exact.model import Model
from pellucid.exact.ops import outside
from pellucid.family.activations import activation
from pellucid.family.blocks import Decoder

Feel = Callable[[Tensor, Model, int], Tensor]
"""Of what parts put out, of a model and a layer: what is weighed."""


@dataclass(frozen=True)
class Output:
    """What all parts of a kind in a layer put out together: one activation, with an axis for the parts."""

    name: str
    """The activation, without its layer: `scores`."""
    axis: int
    """Which of its axes counts the parts."""
    restart: tuple[str, ...]
    """The activations from which, with this one, the rest of a pass follows."""
    felt: str
    """The activation by whose gradients a change is weighed."""
    feel: Feel
    """What that activation is where parts put out something else."""

    def of(self, part: int) -> tuple[slice | int, ...]:
        """What to index the activation with, for one part."""
        return (*[slice(None)] * self.axis, part)


def causal(scores: Float[Tensor, "*batch query key"], window: int | None = None) -> Float[Tensor, "*batch query key"]:
    """The pattern that scores of whole rows give where no query sees a later key, or one before its `window`."""
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    hidden = later if window is None else later | outside(*scores.shape[-2:], window, scores.device)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


def _pattern(scores: Tensor, model: Model, layer: int) -> Tensor:
    return causal(scores, model.decoder.blocks[layer].attention.window)


def _activation(pre: Tensor, model: Model, layer: int) -> Tensor:
    return activation(model.decoder.blocks[layer].mlp.activation).torch(pre)


def _itself(value: Tensor, _model: Model, _layer: int) -> Tensor:
    return value


OUTPUTS: dict[PartKind, Output] = {
    "QK": Output("scores", 1, ("resid_pre", "values"), "pattern", _pattern),
    "OV": Output("z", 2, ("resid_pre",), "z", _itself),
    "IN": Output("pre", 2, ("resid_mid",), "post", _activation),
    "OUT": Output("post", 2, ("resid_mid",), "post", _itself),
}
"""By the kind of a part; other kinds of parts run raw."""


def output_of(decoder: Decoder, address: Address) -> Output:
    """What parts of that kind put out in the layer of `address`."""
    found, block = OUTPUTS[address.kind], decoder.blocks[address.layer]
    if address.kind == "IN" and block.mlp.gate is not None:
        found = replace(found, name="post", feel=_itself)
    if block.parallel and "resid_mid" in found.restart:
        found = replace(found, restart=("resid_pre", "attn_out"))
    return found

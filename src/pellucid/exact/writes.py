"""What every address writes to the residual stream; the writes add up to the final residual stream.

QK, IN and the norms write nothing themselves. A layer is computed when the iterator reaches it, so that memory holds
one layer's activations, however many layers there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address, PartKind
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.exact.views import LayerView
from pellucid.family import seams

Write = Float[Tensor, "batch pos model"]


def writes(model: Model, ids: Int[Tensor, "batch pos"]) -> Iterator[tuple[Address, Write]]:
    """Address and write, in order of execution. Biases have one row and position for all."""
    yield from _embeddings(model, ids)
    for layer, z, post in _layers(model, ids):
        own = _plain(model, layer)
        for head in range(z.shape[2]):
            yield Address("OV", layer, head), z[:, :, head] @ own.out[head]
        if own.out_bias is not None:
            yield Address("ATTN.B", layer), own.out_bias.expand(1, 1, -1)
        for neuron in range(post.shape[2]):
            yield Address("OUT", layer, neuron), post[:, :, neuron, None] * own.write[neuron]
        if own.write_bias is not None:
            yield Address("MLP.B", layer), own.write_bias.expand(1, 1, -1)


def totals(model: Model, ids: Int[Tensor, "batch pos"]) -> Iterator[tuple[str, Write]]:
    """The same, with a layer's heads and its neurons summed: pattern (`L00.H*.OV`, `L00.N*.OUT`) and write."""
    for address, write in _embeddings(model, ids):
        yield str(address), write
    for layer, z, post in _layers(model, ids):
        own = _plain(model, layer)
        yield f"L{layer:02d}.H*.OV", z.flatten(2) @ own.out.flatten(0, 1)
        if own.out_bias is not None:
            yield f"L{layer:02d}.ATTN.B", own.out_bias.expand(1, 1, -1)
        yield f"L{layer:02d}.N*.OUT", post @ own.write
        if own.write_bias is not None:
            yield f"L{layer:02d}.MLP.B", own.write_bias.expand(1, 1, -1)


def _plain(model: Model, layer: int) -> LayerView:
    """The layer. Raises `PellucidError` where a norm stands behind what is written: that is no sum of parts."""
    own = model.layer(layer)
    if own.block.attention.behind or own.block.mlp.behind:
        raise PellucidError(
            f"{model.subject.name} norms what its layers write, so the stream is no sum of what heads and neurons write"
        )
    return own


def _embeddings(model: Model, ids: Tensor) -> Iterator[tuple[Address, Write]]:
    kinds: tuple[PartKind, ...] = ("EMB.TOK", "EMB.POS") if model.decoder.positions else ("EMB.TOK",)
    values = model.run(ids, kinds)
    for kind in kinds:
        yield Address(kind), values[kind]


def _layers(model: Model, ids: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Per layer what its heads carry [batch pos head dim] and its neurons' activations [batch pos neuron]."""
    given: dict[str, Tensor] = {}
    for layer in range(model.decoder.layers):
        at = seams.at(layer)
        values = model.run(ids, (at.z, at.post, at.resid_post), given)
        given = {at.resid_post: values[at.resid_post]}
        yield layer, values[at.z], values[at.post]

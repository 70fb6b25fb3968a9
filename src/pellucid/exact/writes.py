"""What every address writes to the residual stream; the writes add up to the final residual stream.

QK, IN and the norms write nothing themselves. A layer is computed when the iterator reaches it, so that memory holds
one layer's activations, however many layers there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model

Write = Float[Tensor, "batch pos model"]


def writes(model: Model, ids: Int[Tensor, "batch pos"]) -> Iterator[tuple[Address, Write]]:
    """Address and write, in order of execution. Biases have one row and position for all."""
    yield from _embeddings(model, ids)
    for layer, z, post in _layers(model, ids):
        out, neurons = _writers(model, layer)
        for head in range(model.config.n_head):
            yield Address("OV", layer, head), z[:, :, head] @ out[head]
        yield Address("ATTN.B", layer), model.weights[f"h.{layer}.attn.c_proj.bias"].expand(1, 1, -1)
        for neuron in range(model.config.n_inner):
            yield Address("OUT", layer, neuron), post[:, :, neuron, None] * neurons[neuron]
        yield Address("MLP.B", layer), model.weights[f"h.{layer}.mlp.c_proj.bias"].expand(1, 1, -1)


def totals(model: Model, ids: Int[Tensor, "batch pos"]) -> Iterator[tuple[str, Write]]:
    """The same, with a layer's heads and its neurons summed: pattern (`L00.H*.OV`, `L00.N*.OUT`) and write."""
    for address, write in _embeddings(model, ids):
        yield str(address), write
    for layer, z, post in _layers(model, ids):
        out, neurons = _writers(model, layer)
        yield f"L{layer:02d}.H*.OV", z.flatten(2) @ out.flatten(0, 1)
        yield f"L{layer:02d}.ATTN.B", model.weights[f"h.{layer}.attn.c_proj.bias"].expand(1, 1, -1)
        yield f"L{layer:02d}.N*.OUT", post @ neurons
        yield f"L{layer:02d}.MLP.B", model.weights[f"h.{layer}.mlp.c_proj.bias"].expand(1, 1, -1)


def _embeddings(model: Model, ids: Tensor) -> Iterator[tuple[Address, Write]]:
    values = model.run(ids, ("EMB.TOK", "EMB.POS"))
    yield Address("EMB.TOK"), values["EMB.TOK"]
    yield Address("EMB.POS"), values["EMB.POS"]


def _layers(model: Model, ids: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Per layer what its heads carry [batch pos head dim] and its neurons' activations [batch pos neuron]."""
    given: dict[str, Tensor] = {}
    for layer in range(model.config.n_layer):
        at = f"L{layer:02d}"
        values = model.run(ids, (f"{at}.z", f"{at}.post", f"{at}.resid_post"), given)
        given = {f"{at}.resid_post": values[f"{at}.resid_post"]}
        yield layer, values[f"{at}.z"], values[f"{at}.post"]


def _writers(model: Model, layer: int) -> tuple[Float[Tensor, "head dim model"], Float[Tensor, "neuron model"]]:
    """The matrices through which the heads and the neurons of `layer` write."""
    out = model.weights[f"h.{layer}.attn.c_proj.weight"]
    return out.view(model.config.n_head, model.config.d_head, -1), model.weights[f"h.{layer}.mlp.c_proj.weight"]

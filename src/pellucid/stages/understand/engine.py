"""The subject's graph without what a student replaces: queries, keys, scores and pre-activations.

What is left is the data that the student's sources act through: embeddings, norms, OV and OUT.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from pellucid.exact import ops
from pellucid.exact.graph import Graph, GraphNode
from pellucid.exact.model import Model
from pellucid.exact.rules import fused


def engine(model: Model) -> Model:
    """`model` for a student's edits: what they replace anyway is not computed, only its shape is right."""
    nodes = [other for node in model.graph.nodes for other in _without(node, model)]
    return model.but(model.weights, Graph(model.graph.inputs, nodes))


def _without(node: GraphNode, model: Model) -> Iterator[GraphNode]:
    layer, _, name = node.name.partition(".")
    heads = {"heads": model.decoder.sizes.head}
    match name:
        case "qkv":
            return
        case "q" | "k":
            yield GraphNode(node.name, _in_heads, (f"{layer}.LN1",), (), heads)
        case "v":
            joint = model.decoder.blocks[int(layer[1:])].attention.v.names(int(layer[1:]))
            yield GraphNode(node.name, _values, (f"{layer}.LN1",), joint, heads)
        case "scores":
            yield GraphNode(node.name, _blank_scores, node.inputs)
        case "pre":
            yield GraphNode(node.name, _blank_pre, node.inputs, (), {"neurons": model.decoder.sizes.neuron})
        case _:
            yield fused(node)


def _in_heads(x: Float[Tensor, "batch pos model"], *, heads: int) -> ops.PerHead:
    """Something in the shape of queries or keys."""
    return x.view(*x.shape[:-1], heads, -1)


def _values(
    x: Float[Tensor, "batch pos model"], weight: Float[Tensor, "model qkv"], bias: Float[Tensor, " qkv"], *, heads: int
) -> ops.PerHead:
    """What heads move, before they mix it."""
    width = x.shape[-1]
    return ops.linear(x, weight[:, -width:], bias[-width:]).view(*x.shape[:-1], heads, -1)


def _blank_scores(queries: ops.PerHead, keys: Float[Tensor, "batch head key dim"]) -> ops.QueryKeys:
    return keys.new_zeros(*keys.shape[:2], queries.shape[1], keys.shape[2])


def _blank_pre(x: Float[Tensor, "batch pos model"], *, neurons: int) -> Float[Tensor, "batch pos neuron"]:
    return x.new_zeros(*x.shape[:2], neurons)

"""Exact rewrites: the same function, said in finer pieces. None is applied unless asked for.

On graphs: `refine` splits norms, reads and writes where a tap wants to see inside. On weights: `head_weights` are views
of one head, `fold_norm` moves a norm's gain and bias into the linear map behind it. Results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.exact import ops
from pellucid.exact.graph import Graph, GraphNode
from pellucid.exact.views import LayerView
from pellucid.family.activations import activation
from pellucid.family.blocks import Decoder


def finer(node: GraphNode, graph: Graph) -> tuple[GraphNode, ...]:
    """The nodes that say `node` in finer pieces (the last has its name); `node` alone where there are none.

    What a norm reads, or a head's query, key or value, is a piece of its own: it can be given another input than
    everything else that reads the same residual stream.

    | activation | shape |
    |---|---|
    | `L00.attn_in`, `L00.mlp_in`, `final_in` (what a norm reads) | [batch pos model] |
    | `L00.LN1.centered`, `L00.LN1.normalized` (and LN2, final; the first if it centres) | [batch pos model] |
    | `L00.LN1.scale` | [batch pos 1] |
    | `L00.q_in`, `L00.k_in`, `L00.v_in` (what each head's query, key, value reads) | [batch pos head model] |
    | `L00.head_writes` | [batch pos head model] |
    | `L00.neuron_writes` (all neurons of the layer together) | [batch pos model] |
    | `L00.ATTN.B`, `L00.MLP.B` | [1 1 model] |
    """
    at, _, name = node.name.rpartition(".")
    if name in _NORMED:
        return _finer_norm(node, _NORMED[name].format(at))
    if node.op is ops.heads_of:
        return _finer_read(node, f"{at}.{name[0]}_in", graph)
    if node.op is ops.write_heads:
        heads = GraphNode(f"{at}.head_writes", head_writes, node.inputs, node.weights[:1], node.options)
        return _with_bias(node, heads, sum_heads, f"{at}.ATTN.B")
    if name in ("mlp_out", "mlp_sum") and node.op in _PRODUCTS:
        neurons = GraphNode(f"{at}.neuron_writes", _PRODUCTS[node.op], node.inputs, node.weights[:1])
        return _with_bias(node, neurons, ops.add, f"{at}.MLP.B")
    return (node,)


_NORMED = {"LN1": "{}.attn_in", "LN2": "{}.mlp_in", "final": "final_in"}
"""The norms that read the stream, and what they read by a name of its own."""


def _finer_norm(node: GraphNode, read: str) -> tuple[GraphNode, ...]:
    name, centres = node.name, node.op is ops.layer_norm
    taken = f"{name}.centered" if centres else read
    epsilon = {"epsilon": node.options["epsilon"]}
    one = {key: value for key, value in node.options.items() if key != "epsilon"}
    return (
        GraphNode(read, ops.same, node.inputs),
        *([GraphNode(taken, centered, (read,))] if centres else []),
        GraphNode(f"{name}.scale", scale, (taken,), (), epsilon),
        GraphNode(f"{name}.normalized", ratio, (taken, f"{name}.scale")),
        GraphNode(name, affine, (f"{name}.normalized",), node.weights, one),
    )


def _finer_read(node: GraphNode, read: str, graph: Graph) -> tuple[GraphNode, ...]:
    joint = graph[node.inputs[0]]
    norm = graph[joint.inputs[0]]
    lengths, part = node.options["lengths"], node.options.get("part")
    heads = lengths[-2] if part is None else next(n for axis, n in enumerate(lengths) if axis != part[0])
    options = {"norm": norm.op, "transposed": joint.op is ops.linear_transposed, "lengths": lengths, "part": part}
    return (
        GraphNode(read, for_each_head, norm.inputs, (), {"heads": heads}),
        GraphNode(node.name, read_heads, (read,), norm.weights + joint.weights, options | dict(norm.options)),
    )


def _with_bias(node: GraphNode, writes: GraphNode, total: Callable[..., Tensor], bias: str) -> tuple[GraphNode, ...]:
    """`node` as the sum of `writes` and of a bias, where it has one."""
    biases = [GraphNode(bias, constant, (), node.weights[1:])] if node.weights[1:] else []
    together = total if biases or total is sum_heads else ops.same
    return (writes, *biases, GraphNode(node.name, together, (writes.name, *(one.name for one in biases))))


def refine(graph: Graph, names: Collection[str]) -> Graph:
    """`graph` with those nodes in finer pieces that have one of `names` among their pieces."""
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        pieces = finer(node, graph)
        nodes += pieces if any(piece.name in names for piece in pieces[:-1]) else (node,)
    return Graph(graph.inputs, nodes)


def refined_names(graph: Graph) -> list[str]:
    """The names of all pieces that `refine` can bring out."""
    return [piece.name for node in graph.nodes for piece in finer(node, graph)[:-1]]


def fuse(graph: Graph) -> Graph:
    """`graph` with activation functions in one step where the library has one; results agree to rounding."""
    return Graph(graph.inputs, [fused(node) for node in graph.nodes])


def fused(node: GraphNode) -> GraphNode:
    """One node of such a graph."""
    alike = activation(node.options["function"]).alike if node.op is ops.activate else ""
    return replace(node, options={"function": alike}) if alike else node


def centered(x: ops.Resid) -> ops.Resid:
    """`x` without its mean over the model's coordinates."""
    return x - x.mean(-1, keepdim=True)


def scale(centered: ops.Resid, *, epsilon: float) -> Float[Tensor, "batch pos one"]:
    """The standard deviation that a norm divides by."""
    return torch.sqrt(centered.square().mean(-1, keepdim=True) + epsilon)


def ratio(centered: ops.Resid, scale: Float[Tensor, "batch pos one"]) -> ops.Resid:
    """`centered` / `scale`."""
    return centered / scale


def affine(
    x: ops.Resid, gain: Float[Tensor, " model"], bias: Float[Tensor, " model"] | None = None, *, plus_one: bool = False
) -> ops.Resid:
    """`x` · gain + bias, coordinate by coordinate; with `plus_one` the gain is 1 + `gain`."""
    found = x * (1.0 + gain if plus_one else gain)
    return found if bias is None else found + bias


def head_writes(
    z: ops.PerHead, weight: Float[Tensor, "rows columns"], *, transposed: bool = False
) -> Float[Tensor, "batch pos head model"]:
    """What each head writes, without the layer's bias."""
    own = weight.view(-1, *z.shape[2:]).permute(1, 2, 0) if transposed else weight.view(*z.shape[2:], -1)
    return torch.einsum("bphd,hdm->bphm", z, own)


def sum_heads(
    writes: Float[Tensor, "batch pos head model"], bias: Float[Tensor, "one one model"] | None = None
) -> ops.Resid:
    """The writes of all heads, and the bias."""
    return writes.sum(2) if bias is None else writes.sum(2) + bias


def constant(value: Float[Tensor, " model"]) -> Float[Tensor, "one one model"]:
    """`value` as one row and position for all."""
    return value[None, None]


def product(x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "in out"]) -> Float[Tensor, "batch pos out"]:
    """x · weight."""
    return x @ weight


def product_transposed(
    x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "out in"]
) -> Float[Tensor, "batch pos out"]:
    """x · weightᵀ."""
    return x @ weight.T


_PRODUCTS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    ops.linear: product,
    ops.linear_transposed: product_transposed,
}
"""A linear map without its bias."""


def for_each_head(x: ops.Resid, *, heads: int) -> Float[Tensor, "batch pos head model"]:
    """`x` once for each head; a view."""
    return x[:, :, None].expand(-1, -1, heads, -1)


def read_heads(
    x: Float[Tensor, "batch pos head model"],
    *weights: Float[Tensor, ...],
    norm: Callable[..., Tensor],
    transposed: bool,
    lengths: Sequence[int],
    part: tuple[int, int] | None,
    **options: Any,
) -> ops.PerHead:
    """Queries, keys or values, each head's from an input of its own, through the layer's norm.

    `weights` are those of the norm and of the projection, whose outputs have axes of `lengths`, of which `part` counts.
    """
    of_norm = 2 if norm is ops.layer_norm else 1
    gain, (stored, *bias) = weights[:of_norm], weights[of_norm:]
    normed = norm(x, *gain, **options)
    own = _heads(stored.T if transposed else stored, lengths, part)
    found = torch.einsum("bphm,mhd->bphd", normed, own)
    return found + _heads(bias[0], lengths, part) if bias else found


def _heads(stored: Float[Tensor, "*rows joint"], lengths: Sequence[int], part: tuple[int, int] | None) -> Tensor:
    """The last axis of `stored` in heads and their coordinates."""
    found = stored.reshape(*stored.shape[:-1], *lengths)
    return found if part is None else found.select(found.ndim - len(lengths) + part[0], part[1])


@dataclass(frozen=True)
class HeadWeights:
    """One head: what it reads (with biases) and what it writes. All are views of the checkpoint's tensors."""

    query: Float[Tensor, "model dim"]
    query_bias: Float[Tensor, " dim"]
    key: Float[Tensor, "model dim"]
    key_bias: Float[Tensor, " dim"]
    value: Float[Tensor, "model dim"]
    value_bias: Float[Tensor, " dim"]
    out: Float[Tensor, "dim model"]


def head_weights(weights: Mapping[str, Tensor], decoder: Decoder, layer: int, head: int) -> HeadWeights:
    """The weights of one head; score = (x·query + query_bias)·(y·key + key_bias) · the scale of its attention.

    A head that shares keys and values has those of its group.
    """
    own, sizes = LayerView(weights, decoder, layer), decoder.sizes
    group = head * sizes.group // sizes.head

    def bias(stored: Tensor | None, at: int) -> Tensor:
        return own.out.new_zeros(sizes.dim) if stored is None else stored[at]

    return HeadWeights(
        own.query[:, head],
        bias(own.query_bias, head),
        own.key[:, group],
        bias(own.key_bias, group),
        own.value[:, group],
        bias(own.value_bias, group),
        own.out[head],
    )


def fold_norm(
    gain: Float[Tensor, " in"],
    norm_bias: Float[Tensor, " in"],
    weight: Float[Tensor, "in out"],
    bias: Float[Tensor, " out"],
) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
    """Weight and bias that read the normalized activation as `weight` and `bias` read the norm's output."""
    return gain[:, None] * weight, norm_bias @ weight + bias

"""Exact rewrites: the same function, said in finer pieces. None is applied unless asked for.

On graphs: `refine` splits norms, reads and writes where a tap wants to see inside. On weights: `head_weights` are views
of one head, `fold_norm` moves a norm's gain and bias into the linear map behind it. Results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pellucid.exact import ops
from pellucid.exact.graph import Graph, Node
from pellucid.family.gpt2 import GPT2Config


def finer(node: Node, graph: Graph) -> tuple[Node, ...]:
    """The nodes that say `node` in finer pieces (the last has its name); `node` alone where there are none.

    What a norm reads, or a head's query, key or value, is a piece of its own: it can be given another input than
    everything else that reads the same residual stream.

    | activation | shape |
    |---|---|
    | `L00.attn_in`, `L00.mlp_in`, `final_in` (what a norm reads) | [batch pos model] |
    | `L00.LN1.centered`, `L00.LN1.normalized` (also LN2, final) | [batch pos model] |
    | `L00.LN1.scale` | [batch pos 1] |
    | `L00.q_in`, `L00.k_in`, `L00.v_in` (what each head's query, key, value reads) | [batch pos head model] |
    | `L00.head_writes` | [batch pos head model] |
    | `L00.neuron_writes` (all neurons of the layer together) | [batch pos model] |
    | `L00.ATTN.B`, `L00.MLP.B` | [1 1 model] |
    """
    name, at = node.name, node.name.rpartition(".")[0]
    if node.op is ops.layer_norm:
        read = {"LN1": f"{at}.attn_in", "LN2": f"{at}.mlp_in"}.get(name.rpartition(".")[2], f"{name}_in")
        return (
            Node(read, ops.same, node.inputs),
            Node(f"{name}.centered", centered, (read,)),
            Node(f"{name}.scale", scale, (f"{name}.centered",), (), node.options),
            Node(f"{name}.normalized", ratio, (f"{name}.centered", f"{name}.scale")),
            Node(name, affine, (f"{name}.normalized",), node.weights),
        )
    if node.op is ops.part_of_heads:
        qkv = graph[node.inputs[0]]
        norm = graph[qkv.inputs[0]]
        return (
            Node(f"{name}_in", for_each_head, norm.inputs, (), {"heads": node.options["heads"]}),
            Node(name, read_heads, (f"{name}_in",), norm.weights + qkv.weights, {**node.options, **norm.options}),
        )
    if node.op is ops.write_heads:
        return (
            Node(f"{at}.head_writes", head_writes, node.inputs, node.weights[:1]),
            Node(f"{at}.ATTN.B", constant, (), node.weights[1:]),
            Node(name, sum_heads, (f"{at}.head_writes", f"{at}.ATTN.B")),
        )
    if node.op is ops.linear and name.endswith(".mlp_out"):
        return (
            Node(f"{at}.neuron_writes", product, node.inputs, node.weights[:1]),
            Node(f"{at}.MLP.B", constant, (), node.weights[1:]),
            Node(name, ops.add, (f"{at}.neuron_writes", f"{at}.MLP.B")),
        )
    return (node,)


def refine(graph: Graph, names: Collection[str]) -> Graph:
    """`graph` with those nodes in finer pieces that have one of `names` among their pieces."""
    nodes: list[Node] = []
    for node in graph.nodes:
        pieces = finer(node, graph)
        nodes += pieces if any(piece.name in names for piece in pieces[:-1]) else (node,)
    return Graph(graph.inputs, nodes)


def refined_names(graph: Graph) -> list[str]:
    """The names of all pieces that `refine` can bring out."""
    return [piece.name for node in graph.nodes for piece in finer(node, graph)[:-1]]


_FUSED = frozenset({"gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh"})


def fuse(graph: Graph) -> Graph:
    """`graph` with activation functions in one step where the library has one; results agree to rounding."""
    nodes = []
    for node in graph.nodes:
        tanh_form = node.op is ops.activate and node.options["function"] in _FUSED
        nodes.append(replace(node, options={"function": "gelu_pytorch_tanh"}) if tanh_form else node)
    return Graph(graph.inputs, nodes)


def centered(x: ops.Resid) -> ops.Resid:
    """`x` without its mean over the model's coordinates."""
    return x - x.mean(-1, keepdim=True)


def scale(centered: ops.Resid, *, epsilon: float) -> Float[Tensor, "batch pos one"]:
    """The standard deviation that a norm divides by."""
    return torch.sqrt(centered.square().mean(-1, keepdim=True) + epsilon)


def ratio(centered: ops.Resid, scale: Float[Tensor, "batch pos one"]) -> ops.Resid:
    """`centered` / `scale`."""
    return centered / scale


def affine(x: ops.Resid, gain: Float[Tensor, " model"], bias: Float[Tensor, " model"]) -> ops.Resid:
    """`x` · gain + bias, coordinate by coordinate."""
    return x * gain + bias


def head_writes(z: ops.PerHead, weight: Float[Tensor, "in model"]) -> Float[Tensor, "batch pos head model"]:
    """What each head writes, without the layer's bias."""
    return torch.einsum("bphd,hdm->bphm", z, weight.view(z.shape[2], z.shape[3], -1))


def sum_heads(writes: Float[Tensor, "batch pos head model"], bias: Float[Tensor, "one one model"]) -> ops.Resid:
    """The writes of all heads, and the bias."""
    return writes.sum(2) + bias


def constant(value: Float[Tensor, " model"]) -> Float[Tensor, "one one model"]:
    """`value` as one row and position for all."""
    return value[None, None]


def product(x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "in out"]) -> Float[Tensor, "batch pos out"]:
    """x · weight."""
    return x @ weight


def for_each_head(x: ops.Resid, *, heads: int) -> Float[Tensor, "batch pos head model"]:
    """`x` once for each head; a view."""
    return x[:, :, None].expand(-1, -1, heads, -1)


def read_heads(
    x: Float[Tensor, "batch pos head model"],
    gain: Float[Tensor, " model"],
    shift: Float[Tensor, " model"],
    weight: Float[Tensor, "model three_model"],
    bias: Float[Tensor, " three_model"],
    *,
    part: int,
    heads: int,
    epsilon: float,
) -> ops.PerHead:
    """Queries (part 0), keys (1) or values (2), each head's from an input of its own, through the layer's norm."""
    own = weight.chunk(3, dim=1)[part].reshape(len(weight), heads, -1)
    normed = F.layer_norm(x, gain.shape, gain, shift, epsilon)
    return torch.einsum("bphm,mhd->bphd", normed, own) + bias.chunk(3)[part].view(heads, -1)


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


def head_weights(weights: Mapping[str, Tensor], config: GPT2Config, layer: int, head: int) -> HeadWeights:
    """The weights of one head; score = (x·query + query_bias)·(y·key + key_bias) · `config.attention_scale(layer)`."""
    block, own = f"h.{layer}.attn", slice(head * config.d_head, (head + 1) * config.d_head)
    queries, keys, values = weights[f"{block}.c_attn.weight"].chunk(3, dim=1)
    b_q, b_k, b_v = weights[f"{block}.c_attn.bias"].chunk(3)
    out = weights[f"{block}.c_proj.weight"][own]
    return HeadWeights(queries[:, own], b_q[own], keys[:, own], b_k[own], values[:, own], b_v[own], out)


def fold_norm(
    gain: Float[Tensor, " in"],
    norm_bias: Float[Tensor, " in"],
    weight: Float[Tensor, "in out"],
    bias: Float[Tensor, " out"],
) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
    """Weight and bias that read the normalized activation as `weight` and `bias` read the norm's output."""
    return gain[:, None] * weight, norm_bias @ weight + bias

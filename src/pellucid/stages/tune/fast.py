"""A graph whose functions are computed the fastest way, equal to rounding but not to the bit; for training."""

from __future__ import annotations

from pellucid.exact import ops
from pellucid.exact.graph import Graph, Node

_TANH = ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh")
"""Ways to write the tanh form of GELU; all mean what the fastest one computes."""


def fast(graph: Graph) -> Graph:
    """`graph` with every tanh form of GELU in one operation."""
    return Graph(graph.inputs, [fast_node(node) for node in graph.nodes])


def fast_node(node: Node) -> Node:
    """One node of such a graph."""
    if node.op is ops.activate and node.options["function"] in _TANH:
        return Node(node.name, node.op, node.inputs, node.weights, {"function": "gelu_pytorch_tanh"})
    return node

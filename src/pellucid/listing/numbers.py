"""How many numbers stand in an expression: the unit in which everything that a program says is counted."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from decimal import Decimal
from types import EllipsisType

BITS = 16
"""What one number may hold of a text or an integer."""


def numbers(node: ast.AST) -> int:
    """The numbers in an expression or statement."""
    match node:
        case ast.Constant(value=value):
            return literal(value)
        case ast.Subscript(slice=ast.Tuple(elts=places)):
            return numbers(node.value) + sum(map(numbers, places))  # x[..., None] is no collection
        case ast.Tuple(ctx=ast.Load()) | ast.List() | ast.Set() | ast.Dict():
            return sum(max(1, numbers(element)) for element in _elements(node))
        case _:
            return sum(map(numbers, ast.iter_child_nodes(node)))


def _elements(node: ast.expr) -> Iterator[ast.AST]:
    """The elements of a collection, keys and values alike."""
    yield from (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def literal(value: object) -> int:
    """The numbers in one literal."""
    match value:
        case None | EllipsisType():
            return 0
        case bool():
            return 1
        case int():
            return max(1, math.ceil(value.bit_length() / BITS))
        case float():
            digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
            return 1 + max(0, math.ceil((digits - 9) * math.log2(10) / BITS))
        case _:
            return max(1, math.ceil(8 * len(str(value).encode("utf-8", "surrogatepass")) / BITS))

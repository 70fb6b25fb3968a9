"""Kinds and values that a function takes without a number of their own, which count as numbers nevertheless.

What is multiplied by a number of its own has paid by that. A term behind a common factor, behind a local name, added
to one with ``+=``, or handed to a helper that sums would be free, and many of them a table that is not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator

from pellucid.listing.language import ASKED


def bare(
    node: ast.FunctionDef | ast.Assign, kinds: Collection[str], numbers: Callable[[ast.AST], int], *, own: bool
) -> int:
    """How many terms of a definition are one of `kinds`, or something that it asks for, without any of `numbers`.

    `own` is whether the definition is the source or value itself, which may be a single term: a helper's counts.
    """
    asked = {arg.arg for arg in node.args.args} if own and isinstance(node, ast.FunctionDef) else set()
    named = (asked | set(kinds)) - ASKED  # what all may ask for is no term by itself
    return sum(_bare(term, named, numbers) for part in ast.walk(node) for term in _terms(part, named, own))


def _terms(node: ast.AST, named: Collection[str], own: bool) -> Iterator[ast.expr]:
    """What a node sums, binds, hands on or, of a helper, returns."""
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub(), left=left, right=right):
            yield from (left, right)
        case ast.AugAssign(value=value) | ast.Assign(value=value):
            yield value
        case ast.Return(value=ast.expr() as value) if not own:
            yield value
        case ast.Call(func=ast.Name(id=name), args=args) if name not in named and name != "seen":
            yield from args


def _bare(term: ast.expr, named: Collection[str], numbers: Callable[[ast.AST], int]) -> bool:
    while isinstance(term, ast.UnaryOp):
        term = term.operand
    name = term.func if isinstance(term, ast.Call) else term
    return isinstance(name, ast.Name) and name.id in named and not numbers(term)

"""How many numbers a source holds: the measure that keeps a table from passing for an explanation.

Every literal number is one, every element of a collection at least one, and so is every started 16 bits of a text or an
integer; a float of more than 9 digits counts the rest by started 16 bits as well. Helper functions and named constants
count where they are first used, once a file. Docstrings, addresses, `None` and `...` are free, and so are the first 256
nodes of a source's syntax; beyond them every started 16 nodes count as one, so that operators cannot spell a table.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from decimal import Decimal
from types import EllipsisType

from pellucid.base.address import Address
from pellucid.listing.language import definitions, is_docstring
from pellucid.listing.parse import Listing, Page
from pellucid.parts.lifted import lifted_numbers

BITS = 16
FREE_NODES = 256


def count_program(listing: Listing) -> dict[Address, int]:
    """The numbers in every source of a program, and those of every lifted part, by address; raw parts are not in it."""
    found = {address: held for page in listing.pages.values() for address, held in count_page(page).items()}
    for page in listing.pages.values():
        for address, statement in page.explained():
            if address not in found:
                sharing = max(1, len(statement.neurons))
                found[address] = lifted_numbers(address.kind, listing.config, rank=statement.rank, sharing=sharing)
    return found


def count_page(page: Page) -> dict[Address, int]:
    """The numbers in every source of a page, by address. A constant neuron holds one."""
    defined = definitions(page.tree)
    counted: set[str] = set()
    found: dict[Address, int] = {}
    for address, statement in page.sources():
        if statement.function is None:
            found[address] = 1
            continue
        names = [name for name in reachable(statement.function, defined) if name not in counted]
        counted.update(names)
        nodes = [node for name in names for node in _contents(defined[name])]
        syntax = sum(1 for node in nodes for _ in ast.walk(node)) - FREE_NODES
        found[address] = sum(map(numbers, nodes)) + max(0, math.ceil(syntax / BITS))
    return found


def numbers_of(page: Page) -> int:
    """All numbers in the sources of a page."""
    return sum(count_page(page).values())


def reachable(name: str, defined: dict[str, ast.FunctionDef | ast.Assign]) -> list[str]:
    """The definitions that `name` uses, directly or through others, itself first."""
    found = [name]
    for current in found:
        inside = [part for node in _contents(defined[current]) for part in ast.walk(node)]
        used = dict.fromkeys(part.id for part in inside if isinstance(part, ast.Name))
        found += [other for other in used if other in defined and other not in found]
    return found


def _contents(node: ast.FunctionDef | ast.Assign) -> list[ast.AST]:
    """What counts of a definition: a constant's value, a function's body without its docstring."""
    if isinstance(node, ast.Assign):
        return [node.value]
    return [*node.body[1:]] if is_docstring(node.body[0]) else [*node.body]


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

"""How large accounts are: in symbols, and in the numbers of the source budget.

Every name, keyword, operator and literal of an account file is a symbol; brackets, commas, colons and dots are free,
and so are comments and docstrings. A text is as many as the model has tokens for it, in an account as in the key and
the answer of a table or a line of a class. What else stands in a table is about the line, and counts for nothing.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import COLUMNS, Spelling
from pellucid.base.errors import PellucidError
from pellucid.base.files import read_text
from pellucid.listing.count import literal, numbers
from pellucid.listing.language import is_docstring

FREE = frozenset("()[]{},:.;")
_COUNTED = {tokenize.NAME, tokenize.NUMBER, tokenize.OP}


def symbols(folder: Folder) -> int:
    """The symbols of all accounts, tables and classes."""
    gap = " " if folder.spelling.spaced else ""  # a cell is said within a text
    own = sum(_symbols(read_text(path), folder.trees[path.name], folder.spelling) for path in folder.files)
    return own + sum(_tokens(gap + cell, folder.spelling) for path in folder.tables for cell in _cells(path))


def budget_numbers(folder: Folder) -> int:
    """What the same would hold of a budget of sources: every literal, and every started 16 bits of a text."""
    own = sum(numbers(node) for tree in folder.trees.values() for node in _counted(tree))
    return own + sum(literal(cell) for path in folder.tables for cell in _cells(path))


def _symbols(text: str, tree: ast.Module, spelling: Spelling) -> int:
    """The symbols of a file."""
    described = {node.lineno for node in _docstrings(tree)}
    found = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.start[0] not in described:
            found += _tokens(str(ast.literal_eval(token.string)), spelling) or 1
        found += token.type in _COUNTED and token.string not in FREE
    return found


def _docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and node.body and is_docstring(node.body[0]):
            yield node.body[0]


def _counted(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements whose numbers count."""
    for node in tree.body:
        body = node.body if isinstance(node, ast.FunctionDef) else [node]
        yield from (part for part in body if not is_docstring(part))


def _cells(path: Path) -> Iterator[str]:
    """The texts of a table or class that something is computed from."""
    lines = read_text(path).removesuffix("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    is_table = rows[0][: len(COLUMNS)] == COLUMNS
    for row in rows[1:] if is_table else rows:
        yield from row[: len(COLUMNS)]


def _tokens(text: str, spelling: Spelling) -> int:
    """The tokens of a text; a word that the model does not have is one."""
    try:
        return len(spelling.encode(text))
    except PellucidError:
        return len(text.split())

"""How large accounts are: in symbols, and in the numbers of the source budget.

Every name, keyword, operator and literal of an account file is a symbol; brackets, commas, colons and dots are free,
and so are comments and docstrings. A text is as many as the model has tokens for it, in an account as in the key and
the answer of a table or a line of a class; the slot of a pattern is one, and so is the name of a file. What else stands
in a table is about the line, and counts for nothing.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Collection, Iterator
from copy import deepcopy
from pathlib import Path

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import COLUMNS, AccountError, ClassSlot, Spelling, parts_of, slot_files
from pellucid.base.errors import PellucidError
from pellucid.base.files import read_text
from pellucid.listing.language import is_docstring
from pellucid.listing.numbers import literal, numbers

FREE = frozenset("()[]{},:.;")
_COUNTED = {tokenize.NAME, tokenize.NUMBER, tokenize.OP}


def symbols(folder: Folder) -> int:
    """The symbols of all accounts, tables and classes."""
    gap = " " if folder.spelling.spaced else ""  # a cell is said within a text
    own = sum(_symbols(read_text(path), folder.trees[path.name], folder) for path in folder.texts)
    return own + sum(_tokens(gap + cell, folder.spelling) for path in folder.tables for cell in _cells(path))


def budget_numbers(folder: Folder) -> int:
    """What the same would hold of a budget of sources: every literal and slot, and every started 16 bits of a text."""
    apart = _Apart(_files(folder))
    own = sum(numbers(apart.visit(deepcopy(node))) for tree in folder.trees.values() for node in _counted(tree))
    return own + sum(literal(cell) for path in folder.tables for cell in _cells(path))


def _symbols(text: str, tree: ast.Module, folder: Folder) -> int:
    """The symbols of a file."""
    described = {node.lineno for node in _docstrings(tree)}
    found, files = 0, _files(folder)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.start[0] not in described:
            text = str(ast.literal_eval(token.string))
            found += 1 if text in files else _written(text, files, folder.spelling) or 1
        found += token.type in _COUNTED and token.string not in FREE
    return found


def _files(folder: Folder) -> set[str]:
    return {path.name for path in folder.tables}


def _pieces(text: str, files: Collection[str]) -> list[str]:
    """The parts of a text with slots that name files; of any other text, itself."""
    try:
        parts = parts_of(text)
    except AccountError:
        return [text]
    return parts if any({*files} & {*slot_files(part)} for part in parts if isinstance(part, ClassSlot)) else [text]


def _written(text: str, files: Collection[str], spelling: Spelling) -> int:
    """The symbols of a text: its slots, and the tokens between them; the blank before a slot belongs to it."""
    parts = _pieces(text, files)
    behind = [*parts[1:], ""]
    return sum(
        1
        if isinstance(part, ClassSlot)
        else _tokens(part.removesuffix(" ") if isinstance(then, ClassSlot) else part, spelling)
        for part, then in zip(parts, behind, strict=True)
    )


class _Apart(ast.NodeTransformer):
    """Takes texts with slots apart, into the texts between them and a number for each slot."""

    def __init__(self, files: Collection[str]) -> None:
        self.files = files

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        parts = _pieces(node.value, self.files) if isinstance(node.value, str) else []
        if len(parts) < 2 and not any(isinstance(part, ClassSlot) for part in parts):
            return node
        return ast.List([ast.Constant(1 if isinstance(part, ClassSlot) else part) for part in parts], ast.Load())


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

"""The closed language of account files: what their text may contain, checked without running it.

A file holds one account, variables, helper functions, and named tables and classes, in terms of `language.py` and a few
builtins. Everything else is refused: other imports, attributes that reach into Python, defaults, loops without an end.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pellucid.accounts.language import (
    BUILTINS,
    PATTERNED,
    SHARED,
    TABLES,
    WORDS,
    AccountError,
    ClassSlot,
    Text,
    imported_files,
    is_account,
    not_imported,
    parts_of,
    slot_files,
)
from pellucid.base.errors import PellucidError
from pellucid.listing.language import Wrong, is_docstring, refuse

if TYPE_CHECKING:
    from pellucid.exact.model import Model

ACCOUNT = "next_token"
METHODS = frozenset(name for name in vars(Text) if not name.startswith("_"))
"""What may be asked of a text."""
ROLE = " @ "
"""Stands between the addresses of a tie and the position where they carry the variable."""

_EXPRESSIONS = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Set, ast.Subscript)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.comprehension, ast.Slice)
_OPERATORS = (ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.expr_context)
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.Return, ast.If, ast.For, ast.Break, ast.Continue, ast.Pass)
_PLAIN = (*_EXPRESSIONS, *_COMPREHENSIONS, *_OPERATORS, *_STATEMENTS)


def check(
    tree: ast.Module, file: str, model: Model, tables: Collection[str] = (), shared: Collection[str] = ()
) -> None:
    """Raise `SourceError` naming file and line of all in an account that is not in the language.

    The ties of its variables must name parts or activations of `model`, the slots of its patterns files of `tables`.
    What it imports from `variables.py` must be `shared` there.
    """
    try:
        wrong = list(_Checker(tree, file, model, tables, shared).page())
    except RecursionError:
        wrong = [(1, "an expression is nested too deeply; give a part of it a name")]
    refuse(wrong, file)


def addresses_of(tie: str) -> list[str]:
    """The addresses that a tie names, such as `L02.H00` and `L02.H01` of `L02.H00, L02.H01 @ here`."""
    return [address.strip() for address in tie.partition(ROLE)[0].split(",") if address.strip()]


@dataclass
class _Checker:
    """What is wrong with a file, as lines and reasons."""

    tree: ast.Module
    file: str
    model: Model
    tables: Collection[str]
    shared: Collection[str]
    known: set[str] = field(default_factory=set)
    """What functions may name: imported words, builtins, and what the file defines."""

    def page(self) -> Iterator[Wrong]:
        """Check all of it."""
        body = self.tree.body[1:] if self.tree.body and is_docstring(self.tree.body[0]) else self.tree.body
        self.known = {*BUILTINS}
        for node in body:
            yield from self._top(node)
        accounts = [node for node in body if is_account(node)]
        if self.file == SHARED:
            yield from ((node.lineno, f"{SHARED} holds variables, and no account") for node in accounts)
        elif len(accounts) != 1:
            yield accounts[1].lineno if accounts else 1, f"expected one function {ACCOUNT}(text) under @account"

    def _top(self, node: ast.stmt) -> Iterator[Wrong]:
        match node:
            case ast.ImportFrom(module="language", level=1):
                for alias in node.names:
                    if alias.name not in WORDS or alias.asname:
                        yield node.lineno, f"language.py has no {ast.unparse(alias)} to import"
                    self.known.add(alias.name)
            case ast.ImportFrom(module="tables", level=1):
                for alias in node.names:
                    yield from self._imported(alias, node.lineno)
            case ast.ImportFrom(module="variables", level=1) if self.file != SHARED:
                for alias in node.names:
                    if alias.name not in self.shared or alias.asname:
                        yield node.lineno, f"{SHARED} has no variable {ast.unparse(alias)} to import"
                    yield from self._bound(alias.name, node.lineno)
            case ast.ImportFrom(module="__future__", names=[ast.alias(name="annotations")]):
                return
            case ast.Import() | ast.ImportFrom():
                yield (
                    node.lineno,
                    f"`{ast.unparse(node)[:60]}`: only .language, .tables and .variables may be imported from",
                )
            case ast.FunctionDef():
                yield from self._function(node)
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield from self._tree(node.value, set())
                yield from self._bound(name, node.lineno)
            case _:
                yield node.lineno, f"`{ast.unparse(node)[:60]}` does not belong at the top of an account"

    def _imported(self, alias: ast.alias, line: int) -> Iterator[Wrong]:
        """Take in a table or class by the name of its file, in capitals."""
        name = alias.name
        there = [file for file in imported_files(name) if file in self.tables]
        if alias.asname or name != name.upper():
            yield line, f"`{ast.unparse(alias)}`: tables are imported by the name of their file, in capitals"
        elif len(there) != 1:
            yield line, not_imported(name, there)
        yield from self._bound(name, line)

    def _bound(self, name: str, line: int) -> Iterator[Wrong]:
        """Take in a name that the file defines."""
        if name in self.known or name in WORDS or name.startswith("_"):
            yield line, f"{name} is known already, or begins with a line; choose another name"
        self.known.add(name)

    def _function(self, node: ast.FunctionDef) -> Iterator[Wrong]:
        given = [arg.arg for arg in node.args.args]
        if ast.unparse(node.args) != ", ".join(given) or node.returns:
            yield node.lineno, f"{node.name}: arguments are plain names, without defaults or annotations"
        if is_account(node) and (node.name != ACCOUNT or given != ["text"]):
            yield node.lineno, f"{node.name}: the function under @account is {ACCOUNT}(text)"
        for decorator in node.decorator_list:
            yield from self._decorator(decorator)
        local = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        for name in sorted((local | set(given)) & self.known):
            yield node.lineno, f"{name} has a meaning already; choose another name"
        for number, statement in enumerate(node.body):
            if not (number == 0 and is_docstring(statement)):
                yield from self._tree(statement, local | set(given))
        yield from self._bound(node.name, node.lineno)

    def _decorator(self, node: ast.expr) -> Iterator[Wrong]:
        match node:
            case ast.Name(id="account") if "account" in self.known:
                return
            case ast.Call(func=ast.Name(id="variable"), args=[], keywords=given) if "variable" in self.known:
                for keyword in given:
                    yield from self._fact(keyword)
            case _:
                yield node.lineno, f"@{ast.unparse(node)[:60]}: decorators are @account and @variable(tie=…, moved=…)"

    def _fact(self, keyword: ast.keyword) -> Iterator[Wrong]:
        """Check what a variable says of itself."""
        match keyword:
            case ast.keyword(arg="tie", value=ast.Constant(value=str(tie))):
                for address in addresses_of(tie) or [tie]:
                    if reason := self._missing(address):
                        yield keyword.value.lineno, reason
            case ast.keyword(arg="moved", value=ast.Constant(value=float(moved))) if 0 <= moved <= 1:
                return
            case _:
                yield keyword.value.lineno, f'`{ast.unparse(keyword)}`: expected tie="ADDRESS @ ROLE" or moved=0.986'

    def _missing(self, address: str) -> str:
        """Why an address is none of the model; empty where it is one."""
        from pellucid.engine.sites import resolve

        try:
            resolve(self.model, address)
        except PellucidError as error:
            return f"tie: {error}"
        return ""

    def _tree(self, node: ast.AST, local: set[str]) -> Iterator[Wrong]:
        """Check a statement or expression and all that is in it."""
        if reason := self._call(node) if isinstance(node, ast.Call) else self._node(node, local):
            yield getattr(node, "lineno", 0), reason
            return
        for child in _inside(node):
            yield from self._tree(child, local)

    def _node(self, node: ast.AST, local: set[str]) -> str:
        """Why a node is not in the language; empty where it is."""
        match node:
            case ast.Name(id=name):
                known = isinstance(node.ctx, ast.Store) or name in local | self.known
                more = ", import it from .language" if name in WORDS else ""
                return "" if known else f"{name} is not known here{more}"
            case ast.Constant(value=value):
                plain = value is None or isinstance(value, bool | int | float | str)
                return "" if plain else f"{value!r:.40} is no number, text or truth value"
            case ast.Attribute(attr=attribute):
                return f".{attribute} alone is not used in accounts; texts are asked, as in text.ends(…)"
            case ast.Assign() | ast.AugAssign() | ast.For() | ast.comprehension():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                wrong = next((target for target in targets if not _is_target(target)), None)
                return f"{ast.unparse(wrong)[:40]} is not a name to assign to" if wrong else ""
        return "" if isinstance(node, _PLAIN) else f"{type(node).__name__} is not used in accounts"

    def _call(self, node: ast.Call) -> str:
        """Why a call is not in the language; empty where it is."""
        if node.keywords:
            return f"`{ast.unparse(node)[:60]}`: arguments are given without names"
        match node.func:
            case ast.Name():
                return ""
            case ast.Attribute(attr=name):
                known = ", ".join(sorted(METHODS))
                if name not in METHODS:
                    return f".{name}(…) is nothing that a text is asked; it knows {known}"
                return self._patterns(node.args) if name in PATTERNED else ""
        return f"`{ast.unparse(node.func)[:40]}` is not a name to call"

    def _patterns(self, texts: Collection[ast.expr]) -> str:
        """Why one of the texts that are written out is no pattern; empty where all are."""
        try:
            parts = [part for text in texts if isinstance(text, ast.Constant) for part in parts_of(str(text.value))]
        except AccountError as error:
            return str(error)
        slots = [part for part in parts if isinstance(part, ClassSlot)]
        missing = next((slot for slot in slots if not {*slot_files(slot)} & {*self.tables}), None)
        return f"{{{missing}}}: {TABLES}/ has neither {' nor '.join(slot_files(missing))}" if missing else ""


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What is to be checked within a node: of what asks a text, the text and the arguments."""
    match node:
        case ast.Call(func=ast.Attribute(value=text), args=arguments):
            yield from (text, *arguments)
        case _:
            yield from ast.iter_child_nodes(node)


def _is_target(node: ast.expr) -> bool:
    """Whether a node is a name, or several."""
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(name, ast.Name) for name in names)

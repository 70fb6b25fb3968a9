"""What the text of accounts says of itself: their rules and variables, and which tables each of them asks.

Nothing is run: it is read off the syntax, so that it may be a stranger's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import SHARED, ReturnRule, imported, imported_files, imported_variables, is_account
from pellucid.base.files import read_text

_SLOT = re.compile(r"\{([^{}]+)\}")
"""A class of spans in a pattern, by the name of its file."""
_FILES = ("table", "spans")


@dataclass(frozen=True)
class VariableUse:
    """A function under `@variable`, where it stands, and what its decorator says: what carries it, how often seen."""

    file: str
    line: int
    name: str
    says: str
    """The first line of its docstring."""
    tie: str
    moved: float | None


@dataclass(frozen=True)
class AccountPage:
    """One file of accounts."""

    file: str
    tree: ast.Module
    text: str
    tables: frozenset[str] = frozenset()
    """The files of `tables/`."""
    shared: AccountPage | None = None
    """The file of the variables that files share."""

    @cached_property
    def own(self) -> dict[str, ast.FunctionDef]:
        """The functions that stand in it, by name."""
        return {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    @cached_property
    def imported(self) -> frozenset[str]:
        """The variables that it takes from those that are shared."""
        return frozenset(name for name, _ in imported_variables(self.tree.body)) if self.shared else frozenset()

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        """Its functions and those that it imports, with what these call, by name."""
        given = self.shared.functions if self.shared and self.imported else {}
        variables = self.shared.variables if self.shared else {}
        return {name: node for name, node in given.items() if name in self.imported or name not in variables} | self.own

    @cached_property
    def files(self) -> dict[str, str]:
        """The names of tables and classes, each with its file."""
        found = dict(self.shared.files) if self.shared and self.imported else {}
        found |= {
            name: next((file for file in imported_files(name) if file in self.tables), imported_files(name)[-1])
            for name, _ in imported(self.tree.body)
        }
        for node in self.tree.body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(func=ast.Name(id=kind), args=[ast.Constant(value=str(file))]),
                ) if kind in _FILES:
                    found[name] = file
        return found

    @cached_property
    def variables(self) -> dict[str, VariableUse]:
        """Its variables and those that it imports, by name."""
        given = (
            {name: told for name, told in self.shared.variables.items() if name in self.imported} if self.shared else {}
        )
        return given | {name: told for name, node in self.own.items() for told in self._variables(node)}

    def _variables(self, node: ast.FunctionDef) -> Iterator[VariableUse]:
        for above in node.decorator_list:
            match above:
                case ast.Call(func=ast.Name(id="variable"), keywords=given):
                    said = {word.arg: word.value.value for word in given if isinstance(word.value, ast.Constant)}
                    tie, moved = said.get("tie"), said.get("moved")
                    doc = (ast.get_docstring(node) or "").split("\n")[0]
                    yield VariableUse(
                        self.file,
                        node.lineno,
                        node.name,
                        doc,
                        tie if isinstance(tie, str) else "",
                        float(moved) if isinstance(moved, int | float) else None,
                    )

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self.tree) or "").split("\n")[0]

    def source(self, name: str) -> str:
        """The text of a function, with what stands above it."""
        if self.shared and name not in self.own:
            return self.shared.source(name)
        node = self.own[name]
        start = min((above.lineno for above in node.decorator_list), default=node.lineno)
        return "\n".join(self.text.split("\n")[start - 1 : node.end_lineno])

    @cached_property
    def rules(self) -> list[tuple[ReturnRule, frozenset[str]]]:
        """Every `return` of the account, and all names that it hangs on."""
        lines = self.text.split("\n")
        found = []
        for function in filter(is_account, self.tree.body):
            for node, asked in returns(function, []):
                rule = ReturnRule(self.file, node.lineno, lines[node.lineno - 1].strip())
                found.append((rule, self.reached(asked, function)))
        return found

    def reached(self, asked: list[ast.expr], within: ast.stmt) -> frozenset[str]:
        """The names in expressions, in what stands for these names in a function, and in what they call."""
        local = _assigned(within)
        names: set[str] = set()
        left = {name for node in asked for name in _names(node)}
        while left:
            name = left.pop()
            names.add(name)
            more = {other for node in local.get(name, []) for other in _names(node)}
            if name in self.functions:
                more |= set(_names(self.functions[name]))
            left |= more - names
        return frozenset(names)

    def keyed_by(self, file: str) -> list[str]:
        """The variables by which a table is looked up."""
        found: dict[str, None] = {}
        for function in self.functions.values():
            for node in ast.walk(function):
                match node:
                    case ast.Subscript(value=ast.Name(id=name), slice=key) if self.files.get(name) == file:
                        reached = self.reached([key], function)
                        found |= dict.fromkeys(name for name in self.variables if name in reached)
        return list(found)

    def uses(self, names: frozenset[str], file: str) -> bool:
        """Whether some of `names` are a table or class in `file`, or a pattern with its slot."""
        slot = "{" + Path(file).stem + "}"
        return slot in names or any(self.files.get(name) == file for name in names)


def pages(folder: Folder) -> list[AccountPage]:
    """The files of accounts, then the one of what they share. Raises `SourceError` for what is no Python."""
    tables = frozenset(path.name for path in folder.tables)
    texts = {path.name: read_text(path) for path in folder.texts}
    shared = AccountPage(SHARED, folder.trees[SHARED], texts[SHARED], tables) if SHARED in texts else None
    own = [
        AccountPage(file, folder.trees[file], text, tables, shared) for file, text in texts.items() if file != SHARED
    ]
    return [*own, *([shared] if shared else [])]


def _names(node: ast.AST) -> Iterator[str]:
    """The names in a tree, and the slots of patterns, in braces."""
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name):
                yield name
            case ast.Constant(value=str(text)):
                yield from ("{" + slot + "}" for slot in _SLOT.findall(text))


def _assigned(function: ast.stmt) -> dict[str, list[ast.expr]]:
    """What the names of a function stand for within it."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                sides = [(target, value) for target in targets]
            case ast.AugAssign(target=target, value=value):
                sides = [(target, value)]
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                sides = [(target, value)]
            case _:
                continue
        for target, value in sides:
            for name in _names(target):
                found.setdefault(name, []).append(value)
    return found


def returns(node: ast.AST, asked: list[ast.expr]) -> Iterator[tuple[ast.Return, list[ast.expr]]]:
    """Every `return` within a statement that says something, and the expressions that it hangs on."""
    if isinstance(node, ast.Return):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield node, [*asked, node.value]
        return
    own = [node.test] if isinstance(node, ast.If) else [node.iter] if isinstance(node, ast.For) else []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from returns(child, [*asked, *own])

"""Which tables, classes and rules of two folders of accounts are the same, whatever names they were given.

Tables and classes are paired by what is in them, those of one name first where several fit as well. Rules are the same
where their conditions, what they say and the functions that they ask are, with the names of pairs in them; functions
are numbered for that in the order in which they are asked.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import (
    PATTERNED,
    AccountError,
    ClassSlot,
    ReturnRule,
    Table,
    is_account,
    parts_of,
    slot_files,
    spans,
)
from pellucid.accounts.lines import read_tables
from pellucid.accounts.uses import AccountPage, pages

T = TypeVar("T")
Conditions = tuple[ast.expr, ...]
"""What must hold where a rule is reached, and what is gone through on the way to it."""
ALIKE = 0.5
"""Tables and classes are paired where more than this share of their keys or members is in both."""


@dataclass(frozen=True)
class ReadFolder:
    """A folder of accounts, read and not run."""

    tables: Mapping[str, Table]
    classes: Mapping[str, frozenset[str]]
    pages: tuple[AccountPage, ...]

    @staticmethod
    def of(folder: Folder) -> ReadFolder:
        """The accounts of `folder`. Raises `SourceError` for what is broken in them."""
        tables = read_tables(folder).tables
        names = [path.name for path in folder.tables if path.name not in tables]
        classes = {name: spans(name, folder.path).members for name in names}
        return ReadFolder(tables, classes, tuple(pages(folder)))


def pairs(before: ReadFolder, after: ReadFolder) -> dict[str, str]:
    """For tables and classes before the one after that it is, by name."""
    return {
        **_pairs(before.tables, after.tables, _same_lines),
        **_pairs(before.classes, after.classes, _same_members),
    }


def _pairs(
    before: Mapping[str, T], after: Mapping[str, T], same: Callable[[T, T], tuple[float, bool]]
) -> dict[str, str]:
    """Pairs, those of which most is the same first; those of one name need not answer alike."""
    fits = []
    for old, one in before.items():
        for new, other in after.items():
            much, fit = same(one, other)
            if fit and (much > ALIKE or old == new):
                fits.append((much, old == new, old, new))
    found: dict[str, str] = {}
    for _, _, old, new in sorted(fits, key=lambda fit: (-fit[0], not fit[1], *fit[2:])):
        if old not in found and new not in found.values():
            found[old] = new
    return found


def _same_lines(one: Table, other: Table) -> tuple[float, bool]:
    """The share of common keys that are answered alike, more where more keys are common; if enough of them are."""
    both = [key for key in one.lines if key in other]
    if not both:
        return 0.0, False
    equal = sum(one[key] == other[key] for key in both) / len(both)
    most, least = max(len(one.lines), len(other.lines)), min(len(one.lines), len(other.lines))
    return equal * (1 + len(both) / most if equal > ALIKE else 1), len(both) > ALIKE * least


def _same_members(one: frozenset[str], other: frozenset[str]) -> tuple[float, bool]:
    """The share of all members that both have; if it is enough."""
    share = len(one & other) / max(1, len(one | other))
    return share, share > ALIKE


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stated:
    """A rule in full: where it stands, what it says and on what conditions, and which files it uses."""

    rule: ReturnRule
    says: str
    conditions: tuple[str, ...]
    files: frozenset[str]
    texts: frozenset[str]
    """The texts in its conditions, such as the patterns that it is asked behind."""
    answer: tuple[str, ...]
    """What two rules have alike that say the same: that, and the functions that are asked for it."""
    key: tuple[str, ...]
    """What two rules that are the same have alike."""

    @property
    def place(self) -> tuple[str, int]:
        """Its file and line."""
        return self.rule.file, self.rule.line

    def __str__(self) -> str:
        return f"{self.says}  if {' and '.join(self.conditions)}" if self.conditions else self.says


def stated(
    side: ReadFolder, named: Callable[[str], str] = str, spelled: Callable[[str], str] = str
) -> Iterator[Stated]:
    """The rules of a side in the order of their files and lines, each file of a table or class named by `named`.

    `spelled` is what texts are told as.
    """
    for page in side.pages:
        known = {**side.tables, **side.classes}
        told = _Told(page.files, frozenset(known), named, spelled)
        rules = {rule.line: names for rule, names in page.rules}
        for function in filter(is_account, page.tree.body):
            for node, conditions in _returns(function, ()):
                names = rules[node.lineno]
                yield Stated(
                    ReturnRule(page.file, node.lineno, ""),
                    told.text(node),
                    tuple(map(told.text, conditions)),
                    frozenset(file for file in known if page.uses(names, file)),
                    frozenset(text for condition in conditions for text in told.texts(condition)),
                    _plain(told, [node], page.functions),
                    _plain(told, [node, *conditions], page.functions),
                )


def _plain(told: _Told, nodes: Sequence[ast.AST], functions: Mapping[str, ast.FunctionDef]) -> tuple[str, ...]:
    """Nodes as text, with the functions that they ask behind them, whatever these are called."""
    called: dict[str, str] = {}
    parts = list(nodes)
    for part in parts:  # which grows by the functions that are asked
        for name in (inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name)):
            if name in functions and name not in called:
                called[name] = f"asked_{len(called)}"
                parts.append(functions[name])
    return tuple(replace(told, called=called).text(part) for part in parts)


def _returns(node: ast.AST, conditions: Conditions) -> Iterator[tuple[ast.Return, Conditions]]:
    """Every `return` within a statement that says something, with the conditions and loops that it stands under."""
    under: list[tuple[ast.AST, Conditions]] = []
    match node:
        case ast.Return(value=None | ast.Constant(value=None)):
            return
        case ast.Return():
            yield node, conditions
            return
        case ast.If(test=test, body=body, orelse=otherwise):
            refused = _refused(test)
            under += [(part, (*conditions, test)) for part in body]
            under += [(part, (*conditions, refused)) for part in otherwise]
        case ast.For(iter=source):
            under += [(part, (*conditions, source)) for part in ast.iter_child_nodes(node)]
        case _:
            under += [(part, conditions) for part in ast.iter_child_nodes(node)]
    for part, own in under:
        if isinstance(part, ast.stmt):
            yield from _returns(part, own)


def _refused(test: ast.expr) -> ast.expr:
    """What holds where a condition does not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


@dataclass
class _Told(ast.NodeTransformer):
    """Writes code down with other names for tables and classes; the patterns that are asked for come in order."""

    files: Mapping[str, str]
    there: frozenset[str]
    named: Callable[[str], str]
    spelled: Callable[[str], str]
    called: Mapping[str, str] = field(default_factory=dict)
    """Other names of functions."""

    def text(self, node: ast.AST) -> str:
        """The code of a node; of a function without what its text and decorators say about it."""
        node = copy.deepcopy(node)
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            node.name = self.called.get(node.name, node.name)
            node.body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
        return ast.unparse(ast.fix_missing_locations(self.visit(node)))

    def texts(self, node: ast.AST) -> Iterator[str]:
        """The texts in a node."""
        for part in ast.walk(self.visit(copy.deepcopy(node))):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.files:
            return ast.Name(self.named(self.files[node.id]))
        return ast.Name(self.called.get(node.id, node.id))

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        try:
            return ast.Constant("".join(map(self._part, parts_of(node.value))))
        except AccountError:  # it is no pattern: a brace stands alone
            return ast.Constant(self.spelled(node.value))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in PATTERNED:
            node.args.sort(key=ast.unparse)
        return node

    def _part(self, part: str) -> str:
        if not isinstance(part, ClassSlot):
            return self.spelled(part)
        return "{" + self.named(next((file for file in slot_files(part) if file in self.there), part)) + "}"

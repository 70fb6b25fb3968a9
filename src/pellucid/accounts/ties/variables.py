"""What the accounts of a folder hang on: variables, and what their rules ask of the text themselves.

Variables that several files define alike are one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pellucid.accounts.language import Call, is_account
from pellucid.accounts.uses import AccountPage, returns

CALLS = ("word", "token", "again", "after", "behind", "opened")
"""What a text is asked that is a quantity by itself, wherever rules ask it."""


@dataclass(frozen=True)
class Quantity:
    """A quantity, the files that it is of, and the rules that use it, as `homes.py:17`."""

    name: str
    """Of a variable its name, else how it is written."""
    label: str
    """Its name; with the first file where others define something else by the same name."""
    definition: str
    """What it hangs on, as text."""
    files: tuple[str, ...]
    rules: frozenset[str]
    call: Call | None = None
    """What the text is asked; None of a variable."""

    @property
    def is_variable(self) -> bool:
        """Whether a function under `@variable` defines it."""
        return self.call is None

    @property
    def key(self) -> str | Call:
        """What accounts know it by."""
        return self.call or self.name


def quantities(pages: Sequence[AccountPage]) -> list[Quantity]:
    """The quantities of `pages`: variables in the order in which files define them, then what rules ask themselves."""
    return [*_variables(pages), *_calls(pages)]


def _variables(pages: Sequence[AccountPage]) -> Iterator[Quantity]:
    found: dict[tuple[str, str], list[AccountPage]] = {}
    for page in pages:
        for name in page.variables:
            found.setdefault((name, definition(page, name)), []).append(page)
    often = [name for name, _ in found]
    for (name, text), own in found.items():
        yield Quantity(
            name,
            name if often.count(name) == 1 else f"{name} ({own[0].file})",
            text,
            tuple(page.file for page in own),
            frozenset(str(rule) for page in own for rule, names in page.rules if name in names),
        )


def _calls(pages: Sequence[AccountPage]) -> Iterator[Quantity]:
    """What rules ask of the text themselves."""
    found: dict[str, tuple[Call, dict[str, str]]] = {}
    for page in pages:
        for node, asked in _returned(page):
            for part in (part for one in asked for part in ast.walk(one)):
                if (call := _call(part)) is not None:
                    rules = found.setdefault(ast.unparse(part), (call, {}))[1]
                    rules[f"{page.file}:{node.lineno}"] = page.file
    for text, (call, rules) in found.items():
        yield Quantity(text, text, text, tuple(dict.fromkeys(rules.values())), frozenset(rules), call=call)


def _call(node: ast.AST) -> Call | None:
    """What is asked of the whole text, with nothing but constants given."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="text"), attr=name), args=given, keywords=[]) if (
            name in CALLS and all(isinstance(one, ast.Constant) for one in given)
        ):
            return Call(name, tuple(one.value for one in given if isinstance(one, ast.Constant)))
    return None


def _returned(page: AccountPage) -> Iterator[tuple[ast.Return, list[ast.expr]]]:
    """The rules of a file, and the expressions that each hangs on."""
    for function in filter(is_account, page.tree.body):
        yield from returns(function, [])


def definition(page: AccountPage, name: str) -> str:
    """The text of a variable, and of all else at the top of its file that it hangs on, without what it says of ties."""
    if page.shared and name not in page.own:
        return definition(page.shared, name)
    function = page.own[name]
    names = page.reached([part for part in ast.walk(function) if isinstance(part, ast.Name)], function) | {name}
    return "\n".join(_texts(page, names))


def _texts(page: AccountPage, names: frozenset[str]) -> Iterator[str]:
    shared = page.shared.tree.body if page.shared and page.imported else []
    for node in [*shared, *page.tree.body]:
        match node:
            case ast.FunctionDef(name=name) if name in names:
                plain = ast.FunctionDef(name=name, args=node.args, body=node.body, decorator_list=[])
                yield ast.unparse(ast.fix_missing_locations(plain))
            case ast.Assign(targets=[ast.Name(id=name)]) if name in names:
                yield ast.unparse(node)

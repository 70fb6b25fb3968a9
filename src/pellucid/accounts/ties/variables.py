"""Which variables the accounts of a folder have: those that several files define alike are one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pellucid.accounts.uses import Page


@dataclass(frozen=True)
class Quantity:
    """A variable, the files that define it, and the rules that use it, as `homes.py:17`."""

    name: str
    label: str
    """Its name; with the first file where others define something else by the same name."""
    definition: str
    """What it hangs on, as text."""
    files: tuple[str, ...]
    rules: frozenset[str]


def quantities(pages: Sequence[Page]) -> list[Quantity]:
    """The variables of `pages`, in the order in which files define them."""
    found: dict[tuple[str, str], list[Page]] = {}
    for page in pages:
        for name in page.variables:
            found.setdefault((name, definition(page, name)), []).append(page)
    often = [name for name, _ in found]
    return [
        Quantity(
            name,
            name if often.count(name) == 1 else f"{name} ({own[0].file})",
            text,
            tuple(page.file for page in own),
            frozenset(str(rule) for page in own for rule, names in page.rules if name in names),
        )
        for (name, text), own in found.items()
    ]


def definition(page: Page, name: str) -> str:
    """The text of a variable, and of all else at the top of its file that it hangs on, without what it says of ties."""
    function = page.functions[name]
    names = page.reached([part for part in ast.walk(function) if isinstance(part, ast.Name)], function) | {name}
    return "\n".join(_texts(page, names))


def _texts(page: Page, names: frozenset[str]) -> Iterator[str]:
    for node in page.tree.body:
        match node:
            case ast.FunctionDef(name=name) if name in names:
                plain = ast.FunctionDef(name=name, args=node.args, body=node.body, decorator_list=[])
                yield ast.unparse(ast.fix_missing_locations(plain))
            case ast.Assign(targets=[ast.Name(id=name)]) if name in names:
                yield ast.unparse(node)

"""Edits as text: what `program/edits.py` says."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from pellucid.base.errors import SourceError
from pellucid.base.files import MOST_OF_PAGE, read_text
from pellucid.listing.language import check, is_docstring

PAGE = "edits.py"
HEAD = '''"""What was edited: what each edit adds to a part of this program, and what sources were before.

The other pages describe the subject; this one holds all that the program does otherwise. `edits/` tells of each edit
why it was made, what was predicted of it, and what was measured.
"""
'''
"""The page without edits."""


@dataclass(frozen=True)
class EditedStatement:
    """A statement of the page: an edit, or the base of one by hand. Helpers are the functions without an address."""

    kind: str
    """`edit`, `base`, or `helper`."""
    name: str
    address: str
    number: int
    line: int
    end: int
    text: str
    docstring: str | None = None
    says: tuple[str | int, ...] = ()
    over: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Edits:
    """The page, read."""

    path: Path
    text: str
    statements: tuple[EditedStatement, ...]

    def of(self, number: int) -> list[EditedStatement]:
        """The statements of an edit."""
        return [statement for statement in self.statements if statement.number == number]

    @property
    def based(self) -> dict[str, int]:
        """The addresses whose source was edited by hand, with the number of the edit."""
        return {statement.address: statement.number for statement in self.statements if statement.kind == "base"}


def read_edits(program: Path) -> Edits | None:
    """The edits of the program in the folder `program`, None where there are none."""
    path = program / PAGE
    return parse_edits(path, read_text(path, MOST_OF_PAGE)) if path.exists() else None


def parse_edits(path: Path, text: str) -> Edits:
    """Read the page. Raises `SourceError` naming file and line for what is not in its language."""
    try:
        tree = ast.parse(text, path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{path.name}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    lines = text.split("\n")
    found = [_statement(node, path.name, lines) for node in tree.body if not _passed(node)]
    check(tree, path.name, None, decorators=frozenset({"edit", "base"}))
    return Edits(path, text, tuple(found))


def _passed(node: ast.stmt) -> bool:
    """Whether a node says nothing about an edit: docstring, imports, named constants."""
    return is_docstring(node) or isinstance(node, ast.ImportFrom | ast.Assign)


def _statement(node: ast.stmt, file: str, lines: list[str]) -> EditedStatement:
    """The statement that a node is."""
    place = f"{file}:{node.lineno}"
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="base")) as call):
            address, number, _ = _called(call, place)
            return EditedStatement("base", "", address, number, *_span(node, node.lineno, lines))
        case ast.FunctionDef(decorator_list=[]):
            return EditedStatement(
                "helper", node.name, "", 0, *_span(node, node.lineno, lines), ast.get_docstring(node)
            )
        case ast.FunctionDef(decorator_list=[ast.Call(func=ast.Name(id="edit" | "base" as kind)) as call]):
            address, number, tokens = _called(call, place)
            span = _span(node, node.decorator_list[0].lineno, lines)
            sides = tokens.get("says", ()), tokens.get("over", ())
            return EditedStatement(kind, node.name, address, number, *span, ast.get_docstring(node), *sides)
    raise SourceError(f"{place}: `{lines[node.lineno - 1][:60]}`: expected a function under @edit(…) or @base(…)")


def _span(node: ast.stmt, line: int, lines: list[str]) -> tuple[int, int, str]:
    """First and last line, counted from 1, and the text."""
    end = node.end_lineno or line
    return line, end, "\n".join(lines[line - 1 : end])


def _called(call: ast.Call, place: str) -> tuple[str, int, dict[str, tuple[str | int, ...]]]:
    """Address, number and tokens of `edit("L02.H00.OV", 7, says=(" tea",), over=(" milk",))`."""
    try:
        address, number = (ast.literal_eval(argument) for argument in call.args)
        tokens = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except ValueError:
        address, number, tokens = "", 0, {}
    good = isinstance(address, str) and type(number) is int and number > 0 and set(tokens) <= {"says", "over"}
    if not good or not all(isinstance(side, tuple) for side in tokens.values()):
        raise SourceError(
            f'{place}: expected edit("L02.H00.OV", 7, says=(" tea",), over=(" milk",)) or base("L00.H01.QK", 8), '
            f"not {ast.unparse(call)[:80]}"
        )
    return address, number, tokens


def without(edits: Edits, number: int) -> str:
    """The text of the page without edit `number`, and without helpers that nothing uses then."""
    left = [statement for statement in edits.statements if statement.number != number]
    used = "\n".join(statement.text for statement in left if statement.kind != "helper")
    gone = [s for s in edits.statements if s.number == number or (s.kind == "helper" and f"{s.name}(" not in used)]
    lines: list[str | None] = list(edits.text.split("\n"))
    for statement in gone:
        lines[statement.line - 1 : statement.end] = [None] * (statement.end - statement.line + 1)
    kept: list[str] = []
    for line in lines:
        if line is not None and not (line == "" and kept[-2:] == ["", ""]):
            kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n"

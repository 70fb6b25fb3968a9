"""Puts statements into a page in the place of others, and leaves the rest of its text alone."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Mapping

from pellucid.base.errors import SourceError
from pellucid.listing import prelude, wires
from pellucid.listing.content import imported_kinds
from pellucid.listing.language import check, definitions
from pellucid.listing.pages import raw
from pellucid.listing.parse import Page, order, read_page

_FUNCTION = re.compile(r"(?m)^def (\w+)\(")
_GROUP = re.compile(r'raw\("L\d+\.(H00\.QK|ATTN\.B|N\*\.IN)"')
"""Statements that emission sets apart from the one before by a blank line."""
_APART = ("constants(", "means(")
"""Statements about several neurons stand apart."""
_NEEDLESS = re.compile(r"L\d+\.(IN|OUT|N(\d+|\*)\.(IN|OUT)|(IN|H\d+\.QK)\.lifted)")
"""What a program can do without: statements about single neurons or the rest of them, and those beside others."""


def revise(page: Page, edits: Mapping[str, str | None], kinds: Collection[str] = ()) -> Page:
    """The page with the statements of `edits` by key; None is raw, or for one neuron: what its layer's rest does.

    It imports what it uses of the prelude and of `kinds`, those of `words.py`. Raises `SourceError` for a
    text that is not one statement about its key.
    """
    old = {statement.key: statement for statement in page.statements}
    taken = _names(page) - {old[key].function for key in edits if key in old}
    spans: dict[tuple[int, int], list[str]] = {}  # (first line, line after the last) -> what is to stand there
    for key in sorted(edits, key=order):
        text = _statement(page, key, edits[key], taken)
        if text or key in old:
            span = (old[key].line - 1, old[key].end) if key in old else (_place(page, key),) * 2
            spans.setdefault(span, []).extend([text] if text else [])
    lines = list(page.lines)
    for first, end in sorted(spans, reverse=True):
        _splice(lines, first, end, spans[first, end])
    revised = _with_imports(read_page(page.path, {}, "\n".join(lines)), kinds)
    check(revised.tree, page.path.name)
    return revised


def _names(page: Page) -> set[str | None]:
    """The functions of a page, and the kinds that it imports."""
    return {*(node.name for node in page.tree.body if isinstance(node, ast.FunctionDef)), *imported_kinds(page.tree)}


def _statement(page: Page, key: str, text: str | None, taken: set[str | None]) -> str:
    """The text to put in for `key`, with a function name that is free; empty where nothing is needed."""
    if text is None:
        return "" if _NEEDLESS.fullmatch(key) else raw(key)
    text = text.strip("\n")
    statements = read_page(page.path, {}, text).statements
    if len(statements) != 1 or statements[0].key != key:
        raise SourceError(f"{text[:80]!r} is not a statement about {key}")
    if statements[0].form == "raw" and "*" not in key and _NEEDLESS.fullmatch(key):
        return ""
    if name := statements[0].function:
        free = next(new for n in range(1, len(taken) + 2) if (new := name if n == 1 else f"{name}_{n}") not in taken)
        taken.add(free)
        text = _FUNCTION.sub(f"def {free}(", text, count=1) if free != name else text
    return text


def _place(page: Page, key: str) -> int:
    """Where a new statement goes: behind all that run earlier, else before the first that runs later."""
    earlier = [statement.end for statement in page.statements if order(statement.key) < order(key)]
    if earlier and page.values and order(key) > order(f"{key.partition('.')[0]}.LN2"):
        earlier += [value.end for value in page.values]  # they stand above the neurons that read them
    later = [statement.line - 1 for statement in page.statements if order(statement.key) > order(key)]
    return max(earlier) if earlier else min(later, default=len(page.lines))


def _splice(lines: list[str], first: int, end: int, texts: list[str]) -> None:
    """Put `texts` in the place of lines `first` to before `end`, with the blank lines that belong around them."""
    above = next((n for n in range(first, 0, -1) if lines[n - 1].strip()), 0)
    below = next((n for n in range(end, len(lines)) if lines[n].strip()), len(lines))
    had = (first - above, below - end)
    gone = 2 if not texts and lines[first].startswith(_APART) else 0  # it stood apart, and what is left need not
    pieces = [text.split("\n") for text in texts]
    before = lines[above - 1 : above] if above else []
    after = lines[below : below + 1]
    new: list[str] = []
    last = before
    for number, piece in enumerate(pieces):
        new += [""] * _blank(last, piece, had[0] if number == 0 else 0) + piece
        last = piece
    if after:
        new += [""] * _blank(last, after, had[1] if pieces else max(*had, gone))
    lines[above:below] = new if after else [*new, ""]


def _blank(above: list[str], below: list[str], had: int) -> int:
    """How many blank lines stand between two pieces of text."""
    if not above or not below:
        return 0
    function = above[-1][:1] == " " or above[0].startswith("@") or below[0].startswith(("@", "def "))
    if function:
        return 2
    if any(piece[0].startswith(_APART) or piece[-1].startswith(")") for piece in (above, below)):
        return max(1, min(had, 2))
    if below[0].startswith("raw(") and above[-1].startswith("raw(") and had > 1:
        return int(bool(_GROUP.match(below[0])))  # something else stood between
    return min(had, 2) if below[0].startswith("#") or above[-1].startswith("#") else min(had, 1)


def _with_imports(page: Page, kinds: Collection[str]) -> Page:
    """The page importing whatever its text uses from the prelude, and those of `kinds` that it uses and no others."""
    used = {node.id for node in ast.walk(page.tree) if isinstance(node, ast.Name)}
    prelude_names = _imported(page, "prelude") - {"raw"}
    page = _importing(page, "prelude", prelude_names | (used & set(prelude.__all__)))
    page = _importing(page, "wires", (used & set(wires.__all__)) - set(definitions(page.tree)))
    if not kinds and not _imported(page, "words"):
        return page
    return _importing(page, "words", (used & set(kinds)) - set(definitions(page.tree)))


def _imported(page: Page, module: str) -> set[str]:
    """What a page imports from the prelude or from the kinds of tokens."""
    nodes = [node for node in page.tree.body if isinstance(node, ast.ImportFrom) and node.module == module]
    return {alias.name for node in nodes for alias in node.names}


def _importing(page: Page, module: str, names: set[str]) -> Page:
    """The page importing exactly `names` from a module, in one statement, where it imports others now."""
    if names == _imported(page, module):
        return page
    imports = [node for node in page.tree.body if isinstance(node, ast.ImportFrom)]
    own = [node for node in imports if node.module == module]
    lines = list(page.lines)
    new = _import(module, sorted(names)) if names else []
    for node in own[:0:-1]:
        lines[node.lineno - 1 : node.end_lineno] = []
    if own:
        lines[own[0].lineno - 1 : own[0].end_lineno] = new
    elif imports:
        at = imports[-1].end_lineno or imports[-1].lineno
        lines[at:at] = new
    else:
        at = (page.tree.body[0].end_lineno or 0) if page.docstring else 0
        lines[at:at] = ["", *new]
    return read_page(page.path, {}, "\n".join(lines))


def _import(module: str, names: list[str]) -> list[str]:
    """The statement that imports `names`, in as many lines as it takes."""
    one = f"from .{module} import {', '.join(names)}"
    if module == "prelude" or len(one) <= 120:
        return [one]
    body = textwrap.wrap(f"{', '.join(names)},", 116, initial_indent="    ", subsequent_indent="    ")
    return [f"from .{module} import (  # fmt: skip", *body, ")"]

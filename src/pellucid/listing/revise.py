"""Puts statements into a page in the place of others, and leaves the rest of its text alone."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence

from pellucid.base.errors import SourceError
from pellucid.listing.about import ABOUT, About, sides
from pellucid.listing.content import imported_from, imported_kinds
from pellucid.listing.language import OWN, RESERVED, STATEMENTS, beside_of, check, definitions
from pellucid.listing.pages import raw
from pellucid.listing.parse import StatementPage, order, read_page
from pellucid.listing.rows import ROWS
from pellucid.listing.statement import Statement, is_described
from pellucid.program import prelude, wires

_FUNCTION = re.compile(r"(?m)^def (\w+)\(")
_GROUP = re.compile(r'raw\("L\d+\.(H00\.QK|ATTN\.B|N\*\.IN)"')
"""Statements that emission sets apart from the one before by a blank line."""
_APART = ("constants(", "means(")
"""Statements about several neurons stand apart."""
_NEEDLESS = re.compile(r"L\d+\.(IN|OUT|N(\d+|\*)\.(IN|OUT)|(IN|H\d+\.QK)\.lifted|IN\.described)")
"""What a program can do without: statements about single neurons or the rest of them, and those beside others."""


def revise(
    page: StatementPage,
    edits: Mapping[str, str | None],
    kinds: Collection[str] = (),
    beside: StatementPage | None = None,
    was: StatementPage | None = None,
) -> StatementPage:
    """The page with the statements of `edits` by key; None is raw, or nothing where a program can do without.

    It imports what it uses of the prelude, of `kinds`, those of `words.py`, and of the values of the page `beside` it;
    what it (or the page that it `was`) imported from the prelude without use stays, since a person may be about to.
    Rows of neurons that it did not have follow those it has, in the order of `edits`. Raises `SourceError` for a
    text that is not one statement about its key.
    """
    old = {found.key: found for found in page.held}
    lifted = {key for key in (*old, *edits) if key.endswith(prelude.BESIDE) and edits.get(key, "old") is not None}
    taken = _names(page) - {getattr(old[key], "function", None) for key in edits if key in old}
    taken |= _names(beside) if beside else set()
    spans: dict[tuple[int, int], list[str]] = {}  # (first line, line after the last) -> what is to stand there
    for key in sorted(edits, key=order):
        if key in old or not _is_row(key, edits):
            alone = f"{key}{prelude.BESIDE}" not in lifted
            text = _statement(page, key, edits[key], taken, alone=alone)
            if text or key in old:
                span = (old[key].line - 1, old[key].end) if key in old else (_place(page, key),) * 2
                spans.setdefault(span, []).extend([text] if text else [])
    if rows := [key for key in edits if key not in old and _is_row(key, edits)]:
        _add_rows(page, rows, edits, spans)
    lines = list(page.lines)
    for first, end in sorted(spans, reverse=True):
        _splice(lines, first, end, spans[first, end])
    spare = _imported(was or page, "prelude") - _used(was or page)
    revised = _with_imports(read_page(page.path, {}, "\n".join(lines)), kinds, beside, spare)
    check(revised.tree, page.path.name)
    return revised


def _names(page: StatementPage) -> set[str | None]:
    """The functions of a page, and the kinds that it imports."""
    return {*(node.name for node in page.tree.body if isinstance(node, ast.FunctionDef)), *imported_kinds(page.tree)}


def _statement(page: StatementPage, key: str, text: str | None, taken: set[str | None], *, alone: bool = True) -> str:
    """The text to put in for `key`, with a function name that is free; empty where nothing is needed.

    It is not `alone` where it is said beside it what the part is lifted to.
    """
    needless = _NEEDLESS.fullmatch(key) is not None or is_described(page.name) or not alone
    if text is None:
        return "" if needless else raw(key)
    text = text.strip("\n")
    read = read_page(page.path, {}, text)
    if [found.key for found in read.held] != [key]:
        raise SourceError(f"{text[:80]!r} is not a statement about {key}")
    if read.statements and read.statements[0].form == "raw" and "*" not in key and needless:
        return ""
    if read.statements and (name := read.statements[0].function):
        free = next(new for n in range(1, len(taken) + 2) if (new := name if n == 1 else f"{name}_{n}") not in taken)
        taken.add(free)
        text = _FUNCTION.sub(f"def {free}(", text, count=1) if free != name else text
    return text


# --- where a statement goes -------------------------------------------------------------------------------------------


def _is_row(key: str, edits: Mapping[str, str | None]) -> bool:
    """Whether an edit is a row of a neuron, or a text about a neuron."""
    return (edits[key] or "").lstrip().startswith(ROWS) or (key.startswith(ABOUT) and ".N" in key)


def _add_rows(
    page: StatementPage, rows: Sequence[str], edits: Mapping[str, str | None], spans: dict[tuple[int, int], list[str]]
) -> None:
    """Put new rows behind those there are, and every text about a neuron above its row."""
    lines = {statement.key: statement for statement in page.statements}
    texts = {about.key: about for about in page.abouts}
    last = max((found.end for found in page.held if _stands_as_row(found)), default=None)
    end = _place(page, min(rows, key=order)) if last is None else last
    done: set[str] = set()
    for key in rows:
        name = key.removeprefix(ABOUT) if key.startswith(ABOUT) else key.rpartition(".")[0]
        row, about = sides(name)[0], f"{ABOUT}{name}"
        both = [k for k in (about, row) if k in rows and k not in done]
        done.update(both)
        new = [text for k in both if (text := _statement(page, k, edits[k], set()))]
        at = end
        if both == [about] and row in lines:
            at = lines[row].line - 1
        elif both == [row] and about in texts:
            at = texts[about].end
        spans.setdefault((at, at), []).extend(new)


def _stands_as_row(found: Statement | About) -> bool:
    return found.text.startswith(ROWS) or (isinstance(found, About) and ".N" in found.address)


def _place(page: StatementPage, key: str) -> int:
    """Where a new statement goes: behind all that run earlier, else before the first that runs later."""
    own, held = order(key), [(order(found.key), found) for found in page.held]
    earlier = [found.end for at, found in held if at < own]
    if page.values and own > order(f"{key.removeprefix(ABOUT).partition('.')[0]}.LN2"):
        earlier += [value.end for value in page.values]  # they stand above the neurons that read them
    later = [found.line - 1 for at, found in held if at > own]
    later += [value.line - 1 for value in page.values]
    return max(earlier) if earlier else min(later, default=len(page.lines))


# --- blank lines ------------------------------------------------------------------------------------------------------


def _splice(lines: list[str], first: int, end: int, texts: list[str]) -> None:
    """Put `texts` in the place of lines `first` to before `end`, with the blank lines that belong around them."""
    above = next((n for n in range(first, 0, -1) if lines[n - 1].strip()), 0)
    below = next((n for n in range(end, len(lines)) if lines[n].strip()), len(lines))
    had = (first - above, below - end)
    gone = 2 if not texts and lines[first].startswith(_APART) else 0  # it stood apart, and what is left need not
    pieces = [text.split("\n") for text in texts]
    before = lines[_opening(lines, above) : above]
    after = lines[below : below + 1]
    new: list[str] = []
    last = before
    for number, piece in enumerate(pieces):
        new += [""] * _blank(last, piece, had[0] if number == 0 else 0) + piece
        last = piece
    if after:
        new += [""] * _blank(last, after, had[1] if pieces else max(*had, gone))
    lines[above:below] = new if after else [*new, ""]


def _opening(lines: Sequence[str], end: int) -> int:
    """Where the statement begins that ends before line `end`, without decorators."""
    start = max(0, end - 1)
    while start and lines[start][:1] in (" ", ")", ""):
        start -= 1
    return start if end else 0


def _blank(above: list[str], below: list[str], had: int) -> int:
    """How many blank lines stand between two pieces of text."""
    if not above or not below:
        return 0
    if above[0].startswith(("@", "def ")) or below[0].startswith(("@", "def ")):
        return 2
    if below[0].startswith(ROWS) and above[0].startswith((*ROWS, "about(")):
        return 0
    if above[0].startswith("from "):
        return max(1, min(had, 2))
    if any(piece[0].startswith((*_APART, "about(")) or piece[-1].startswith(")") for piece in (above, below)):
        return max(1, min(had, 2))
    if below[0].startswith("raw(") and above[-1].startswith("raw(") and had > 1:
        return int(bool(_GROUP.match(below[0])))  # something else stood between
    return min(had, 2) if below[0].startswith("#") or above[-1].startswith("#") else min(had, 1)


# --- imports ----------------------------------------------------------------------------------------------------------


def _with_imports(
    page: StatementPage, kinds: Collection[str], beside: StatementPage | None, spare: Collection[str]
) -> StatementPage:
    """The page importing what its text uses of the prelude, of `kinds`, and of the values that run `beside` it.

    What is `spare` it imports from the prelude as well.
    """
    used = _used(page)
    page = _importing(page, "prelude", (used & set(prelude.__all__)) | {*spare})
    page = _importing(page, "wires", (used & set(wires.__all__)) - set(definitions(page.tree)))
    for module in sorted({*OWN.values()}):
        page = _importing(page, module, {name for name in used if OWN.get(name) == module})
    if module := beside_of(page.name):
        there = {value.name for value in beside.values} if beside else _imported(page, module)
        page = _importing(page, module, (used & there) - set(definitions(page.tree)))
    if not kinds and not _imported(page, "words"):
        return page
    return _importing(page, "words", (used & set(kinds)) - set(definitions(page.tree)))


def _used(page: StatementPage) -> set[str]:
    """The names that stand in a page; those of statements that may be arguments too only where they are called."""
    calls = [
        node.value.func for node in page.tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    said = {node.id for node in calls if isinstance(node, ast.Name)}
    return said | {node.id for node in ast.walk(page.tree) if isinstance(node, ast.Name)} - (STATEMENTS - RESERVED)


def _imported(page: StatementPage, module: str) -> set[str]:
    """What a page imports from the prelude or from the kinds of tokens."""
    return {*imported_from(page.tree, module)}


def _importing(page: StatementPage, module: str, names: set[str]) -> StatementPage:
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

"""The files of `pellucid.program` as a program has them: of what a decoder may have, only what this one has.

A statement whose first line ends with a comment `# for: rotary` is printed for decoders that have this feature,
`# for: grouped, not rotary` for those that have the one and not the other, `# for: linear or yarn` for either. A line
inside a statement is marked in the same way. Names that nothing uses any more are not imported.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from pellucid import program
from pellucid.family.activations import printed as activations

_HERE = Path(program.__file__).parent
_MARK = re.compile(r"  # for: ([a-z3 ,]+)$")
_WIDTH = 120
TABLE = "ACTIVATIONS"
"""What `runtime.py` calls its activation functions, by name."""


@cache
def printed(name: str, features: frozenset[str]) -> str:
    """The file `name` of `pellucid.program` for a decoder with these `features`."""
    text = (_HERE / name).read_text(encoding="utf-8")
    lines = text.split("\n")
    marked = {number: found[1] for number, line in enumerate(lines, 1) if (found := _MARK.search(line))}
    if not marked:
        return text
    spans, gone = _spans(ast.parse(text)), set[int]()
    for number, condition in marked.items():
        if not holds(condition, features):
            gone.update(spans.get(number, (number,)))
    kept = [_MARK.sub("", line) for number, line in enumerate(lines, 1) if number not in gone]
    return _spaced(_imports("\n".join(kept)))


@cache
def with_activation(text: str, name: str) -> str:
    """The text of `runtime.py` with the activation function `name` alone, and without what only others use."""
    tree = ast.parse(text)
    (table,) = (node for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE)
    lines = text.split("\n")
    lines[table.lineno - 1 : table.end_lineno] = activations({name}).rstrip("\n").split("\n")
    return _spaced(_imports(_without_unused("\n".join(lines))))


def _without_unused(text: str) -> str:
    """`text` without private functions that nothing calls, and without what only they call."""
    while True:
        tree = ast.parse(text)
        used = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("_")]
        unused = [node for node in functions if not used[node.name]]
        if not unused:
            return text
        lines = text.split("\n")
        for node in reversed(unused):
            lines[node.lineno - 1 : node.end_lineno] = []
        text = "\n".join(lines)


def holds(condition: str, features: Collection[str]) -> bool:
    """Whether a decoder with these `features` fits the `condition`."""
    return any(all(_has(term, features) for term in terms.split(", ")) for terms in condition.split(" or "))


def _has(term: str, features: Collection[str]) -> bool:
    return (term.removeprefix("not ") in features) != term.startswith("not ")


def _spans(tree: ast.Module) -> dict[int, range]:
    """The lines of every statement, by the first of them (that of its first decorator) and by the last."""
    found: dict[int, range] = {}
    ends: dict[int, range] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
            span = range(first, (node.end_lineno or first) + 1)
            found.setdefault(first, span)
            ends[span[-1]] = span
    return ends | found


def _imports(text: str) -> str:
    """`text` without imported names that nothing uses."""
    lines = text.split("\n")
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {word for node in ast.walk(tree) if isinstance(node, ast.Constant) for word in _words(node.value)}
    for node in reversed(tree.body):
        if isinstance(node, ast.ImportFrom | ast.Import) and getattr(node, "module", "") != "__future__":
            kept = [alias for alias in node.names if (alias.asname or alias.name) in used]
            if len(kept) < len(node.names):
                lines[node.lineno - 1 : node.end_lineno] = _import(node, kept)
    return "\n".join(lines)


def _words(value: object) -> list[str]:
    """The names in a string, which may be an annotation."""
    return re.findall(r"\w+", value) if isinstance(value, str) and len(value) < _WIDTH else []


def _import(node: ast.ImportFrom | ast.Import, kept: list[ast.alias]) -> Iterator[str]:
    """The lines of an import of what is `kept`."""
    if not kept:
        return
    names = ", ".join(f"{alias.name} as {alias.asname}" if alias.asname else alias.name for alias in kept)
    if isinstance(node, ast.Import):
        yield f"import {names}"
        return
    start = f"from {'.' * node.level}{node.module or ''} import "
    if len(start) + len(names) <= _WIDTH:
        yield f"{start}{names}"
        return
    yield f"{start}("
    yield from (f"    {name}," for name in names.split(", "))
    yield ")"


def _spaced(text: str) -> str:
    """`text` with no more blank lines than there were between what is left: one inside a class, two outside."""
    text = re.sub(r"\n{4,}", "\n\n\n", text)
    text = re.sub(r"\n{3,}(?=[ ])", "\n\n", text)
    return re.sub(r"\n{3,}\Z", "\n", text)

"""The functions of a program without weights, by their names or by the addresses that they stand for."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pellucid.base.errors import ProjectError, closest
from pellucid.base.schema import text_of
from pellucid.weightless.saved import ValueAgreement, read_saved

PROGRAM = Path("program") / "program.py"


@dataclass(frozen=True)
class Function:
    """A function, its first line in `program.py`, what it stands for, and how that agrees under interventions."""

    name: str
    line: int
    source: str
    addresses: tuple[str, ...]
    value: ValueAgreement | None

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON; what was not measured is null."""
        return {
            "name": self.name,
            "addresses": list(self.addresses),
            "file": str(PROGRAM),
            "line": self.line,
            "source": self.source,
            "agreement": self.value and {"value": self.value.value, "n": self.value.n},
        }

    def is_meant(self, pattern: str) -> bool:
        """Whether `pattern` names it or an address that it stands for; `L00.N3.IN` is one of `L00.N*.IN`."""
        named = (fnmatchcase(name, pattern) or fnmatchcase(pattern, name) for name in (self.name, *self.addresses))
        return any(named)


def functions(directory: Path, pattern: str = "*") -> list[Function]:
    """The functions of the program in `directory` that `pattern` names. The program is read, and does not run.

    Raises `ProjectError` where there is none, or where the program cannot be read.
    """
    every = read_functions(directory)
    if found := [function for function in every if function.is_meant(pattern)]:
        return found
    names = [name for function in every for name in (function.name, *function.addresses)]
    near = closest(pattern, names) or f"; its functions are {', '.join(function.name for function in every)}"
    raise ProjectError(f"{directory} has no function, and no address with a function, called {pattern!r}{near}")


def read_functions(directory: Path) -> list[Function]:
    """Every function of the program in `directory`, in order. Raises `ProjectError` where it cannot be read."""
    path = directory / PROGRAM
    text = text_of(path, ProjectError)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProjectError(f"{path} is no Python: {error}") from None
    values = {value.name: value for value in read_saved(directory).mechanism}
    lines = text.splitlines()
    return [
        Function(
            node.name,
            node.lineno,
            "\n".join(lines[node.lineno - 1 : node.end_lineno]),
            _addresses(ast.get_docstring(node) or ""),
            values.get(node.name),
        )
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    ]


def _addresses(docstring: str) -> tuple[str, ...]:
    """The addresses behind `Replaces`, up to the end of the sentence."""
    said = re.search(r"Replaces (.*?)(:|\.\s|\.$)", docstring + "\n", re.DOTALL)
    return tuple(re.findall(r"(?:L\d\d\.[A-Z0-9.*]+|LNF|EMB\.\w+)(?<!\.)", said[1])) if said else ()

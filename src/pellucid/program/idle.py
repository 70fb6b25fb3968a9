"""Which sources a person changed although they do not run, and what lets them.

While the residual of a part is on, the part runs from its weights, whatever its source says. `.emitted` holds the hash
of every statement that emission wrote, by which a person's are told from those.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from .parts import Plan
from .prelude import STATEMENTS, Statement

SOURCES = ("source", "fires", "constants", "linear")  # forms of statements that say what a part does
SHOWN = 3  # statements that are named
BEGINS = re.compile(r"[A-Za-z_@#\"']")  # what a line begins with that is not of the statement above


def warning(plan: Plan, program: Path) -> str:
    """What to tell about a person's sources in the folder `program` that do not run; empty where all do."""
    found = sorted(changed(plan, program), key=lambda statement: (statement.file, statement.line))
    return said([(s.key, f"{s.file}:{s.line}") for s in found], os.path.relpath(program.parent))


def said(found: Sequence[tuple[str, str]], directory: str) -> str:
    """What to tell about sources that do not run, by key and place; empty where there are none."""
    if not found:
        return ""
    named = ", ".join(f"{key} ({place})" for key, place in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    were, do, them = ("was", "does", "it") if len(found) == 1 else ("were", "do", "them")
    code = all(key.endswith((".QK", ".IN")) for key, _ in found)
    return (
        f"{named}{more} {were} changed by hand and {do} nothing here: where a residual is on, a part runs from its "
        f"weights, and where it is lifted, along few directions. Run {them} with "
        f"{'--source-only' if code else '`python -m program` and --source-only all'}, or let the change count: "
        f"pellucid edit {shlex.quote(directory)} --commit {found[0][0]}"
    )


def changed(plan: Plan, program: Path) -> Iterator[Statement]:
    """The statements that a person wrote and that do not run."""
    record = program / ".emitted"
    if not record.is_file():
        return
    entries = (line.split("\t") for line in record.read_text(encoding="utf-8").splitlines())
    written = {entry[0]: entry[1].split() for entry in entries if len(entry) == 2}
    pages: dict[str, list[str]] = {}
    whole: dict[str, dict[int, str]] = {}
    for statement in STATEMENTS.values():
        if statement.form not in SOURCES or not any(map(plan.is_idle, _addresses(statement))):
            continue
        file = statement.file
        own = written.get(f"described {statement.key}" if statement.described else statement.key, [])
        if file not in pages:
            pages[file] = (program / file).read_text(encoding="utf-8").split("\n")
        if _hash(_text(pages[file], statement.line)) in own:
            continue
        if file not in whole:  # seldom: a page that a person changed is read as Python, which takes its time
            whole[file] = dict(_statements(pages[file]))
        if _hash(whole[file].get(statement.line, "")) not in own:
            yield statement


def _addresses(statement: Statement) -> list[str]:
    """The parts that a statement is about."""
    layer, _, kind = statement.key.partition(".")
    return [f"{layer}.N{neuron:04d}.{kind[:3].strip('.')}" for neuron in statement.neurons] or [statement.key]


def _text(lines: list[str], line: int) -> str:
    """The statement that begins at `line`, by its looks: up to the next line that begins at the margin."""
    end = line
    while end < len(lines) and lines[end - 1].startswith("@"):
        end += 1
    while end < len(lines) and not BEGINS.match(lines[end]):
        end += 1
    return "\n".join(lines[line - 1 : end])


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The first line of every statement of a page, with its text."""
    for node in ast.parse("\n".join(lines)).body:
        decorators = getattr(node, "decorator_list", [])
        first = decorators[0].lineno if decorators else node.lineno
        yield first, "\n".join(lines[first - 1 : node.end_lineno])


def _hash(text: str) -> str:
    """The hash by which emission recognises what it wrote."""
    return hashlib.sha256(text.strip().encode("utf-8")).hexdigest()[:16]

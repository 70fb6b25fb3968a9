"""Names of parts and where they come from: `symbols.tsv`, one line each, sorted, so that it merges well.

Names follow a ladder of provenance: default < analysis < model-written < imported < user. A re-run replaces only names
on equal or lower rungs, and a name above `default` that was not given by a person needs the id of its evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from pellucid.base.errors import ProjectError
from pellucid.base.files import write_text
from pellucid.base.schema import shown, text_of

LADDER = ("default", "analysis", "model-written", "imported", "user")
_HEADER = ("address", "name", "kind", "provenance", "evidence", "score", "note")
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


@dataclass(frozen=True)
class Symbol:
    """A line of `symbols.tsv`. `evidence` is a row id of the evidence store, `score` that row's value; or empty."""

    address: str
    name: str
    kind: str
    provenance: str = "default"
    evidence: str = ""
    score: str = ""
    note: str = ""


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    parts = text.split("\\\\")
    for plain, escaped in _ESCAPES[1:]:
        parts = [part.replace(escaped, plain) for part in parts]
    return "\\".join(parts)


def read_symbols(path: Path) -> dict[str, Symbol]:
    """The symbols in the file at `path` by address; none where there is no file.

    Raises `ProjectError` with file and line for anything that is not such a line.
    """
    if not path.exists():
        return {}
    text = text_of(path, ProjectError)
    found: dict[str, Symbol] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        cells = line.split("\t")
        if number == 1 and tuple(cells) == _HEADER:
            continue
        if len(cells) != len(_HEADER):
            raise ProjectError(f"{path}:{number}: {len(cells)} columns, expected {len(_HEADER)}: {', '.join(_HEADER)}")
        symbol = Symbol(*map(_unescape, cells))
        if symbol.provenance not in LADDER:
            said = shown(symbol.provenance)
            raise ProjectError(f"{path}:{number}: provenance is {said}, expected {' or '.join(LADDER)}")
        if symbol.address in found:
            raise ProjectError(f"{path}:{number}: {shown(symbol.address)} has a line already; keep one of them")
        found[symbol.address] = symbol
    return found


def write_symbols(path: Path, symbols: dict[str, Symbol]) -> None:
    """Write `symbols` sorted by address, atomically."""
    lines = ["\t".join(_HEADER)]
    for address in sorted(symbols):
        symbol = symbols[address]
        lines.append("\t".join(_escape(getattr(symbol, field.name)) for field in fields(Symbol)))
    write_text(path, "\n".join(lines) + "\n")


def merge(old: dict[str, Symbol], new: dict[str, Symbol]) -> dict[str, Symbol]:
    """`new` names put over `old` ones where these stand on an equal or lower rung; notes of people are always kept."""
    merged = dict(old)
    for address, symbol in new.items():
        before = old.get(address)
        if before is None:
            merged[address] = symbol
        elif LADDER.index(symbol.provenance) >= LADDER.index(before.provenance):
            merged[address] = replace(symbol, note=before.note or symbol.note)
    return merged

"""Puts named values into a page in the place of those that emission wrote; those of a person stay where they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pellucid.base.errors import SourceError
from pellucid.listing.parse import StatementPage, order, read_page


def revalue(page: StatementPage, texts: Sequence[str], needed: Collection[str] = ()) -> StatementPage:
    """The page with the values `texts` as one block above the neurons, in the place of all that emission wrote there.

    A person's value of the same name stays instead. Of the old ones those in `needed` stay too, behind the new ones.
    Imports are left to `revise`. Raises `SourceError` for a text that is not one named value.
    """
    own = {value.name: value for value in page.values if value.by_person}
    old = [value for value in page.values if not value.by_person]
    new = {_name(page, text): text.strip("\n") for text in texts}
    block = [text for name, text in new.items() if name not in own]
    block += [value.text for value in old if value.name in needed and value.name not in new]
    asked = {name for text in block for value in _read(page, text).values for name in value.values}
    behind = [value.end for value in own.values() if value.name in asked]
    at = max(behind) if behind else min((value.line - 1 for value in old), default=_above_neurons(page))
    lines: list[str | None] = [*page.lines]
    for value in old:
        lines[value.line - 1 : value.end] = [None] * (value.end - value.line + 1)
    above, below = ("\n".join(line for line in part if line is not None) for part in (lines[:at], lines[at:]))
    pieces = [above.rstrip("\n"), *block, below.lstrip("\n")] if block or old else [page.text]
    return read_page(page.path, {}, "\n\n\n".join(piece for piece in pieces if piece))


def kept_values(page: StatementPage, texts: Sequence[str]) -> list[str]:
    """The names among the values `texts` that stay as a person wrote them."""
    own = {value.name for value in page.values if value.by_person}
    return [name for name in (_name(page, text) for text in texts) if name in own]


def _above_neurons(page: StatementPage) -> int:
    """The line before which the statements about neurons begin."""
    norm = order(f"L{int(page.path.stem.rpartition('_')[2]):02d}.LN2")
    return min((found.line - 1 for found in page.held if order(found.key) > norm), default=len(page.lines))


def _read(page: StatementPage, text: str) -> StatementPage:
    return read_page(page.path, {}, text)


def _name(page: StatementPage, text: str) -> str:
    """The name of the value that a text defines."""
    found = _read(page, text)
    if len(found.values) != 1 or len(found.tree.body) != 1:
        raise SourceError(f"{text[:80]!r} is not one function under @value")
    return found.values[0].name

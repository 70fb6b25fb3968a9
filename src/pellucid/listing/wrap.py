"""Breaks lines between words, and never inside a quoted token: `" the"` stays as it is wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_LONGEST = 80
"""Characters of a quoted token at most: a quotation mark without a partner holds no more text together."""
_PIECES = re.compile(rf'(?:"(?:[^"\\]|\\.){{0,{_LONGEST}}}"|\S)+')


def wrap(text: str, width: int, first: str = "", later: str = "", shown: Callable[[str], str] = str) -> list[str]:
    """The lines of `text`, at most `width` wide as far as its pieces allow; no text is no line.

    `first` begins the first line, `later` the others; `shown` is how a piece is printed, which may be longer.
    """
    return fill(map(shown, pieces(text)), width, first, later)


def fill(found: Iterable[str], width: int, first: str = "", later: str = "") -> list[str]:
    """Pieces on as few lines as their width allows, with a space between two of them; see `wrap`."""
    lines: list[str] = []
    line, empty = first, True
    for piece in found:
        if not empty and len(line) + 1 + len(piece) > width:
            lines.append(line)
            line, empty = later, True
        line += piece if empty else f" {piece}"
        empty = False
    return lines if empty else [*lines, line]


def pieces(text: str) -> Iterator[str]:
    """What may stand on lines of its own: words, quoted tokens, and what sticks to them."""
    return (found[0] for found in _PIECES.finditer(text))


def quoted(text: str, mark: str = '"') -> str:
    """`text` as a Python literal between quotation marks; what cannot be seen is escaped."""
    plain = (c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
    return mark + "".join(f"\\{c}" if c == mark else c for c in plain) + mark


def prose(text: str) -> str:
    """`text` as a literal between those marks of which it has fewer: sentences quote tokens."""
    return quoted(text, _mark(text))


def _mark(text: str) -> str:
    return "'" if text.count('"') > text.count("'") else '"'


def shown_token(token: str | int) -> str:
    """A token by its text, or by its id where it has none, as a literal."""
    return str(token) if isinstance(token, int) else quoted(token)


def literals(text: str, width: int, indent: str) -> list[str]:
    """`text` as literals on lines of their own, which Python puts together."""
    mark = _mark(text)
    lines = wrap(text, width - len(indent) - 3, shown=lambda piece: quoted(piece, mark)[1:-1]) or [""]
    return [f"{indent}{mark}{line} {mark}" for line in lines[:-1]] + [f"{indent}{mark}{lines[-1]}{mark}"]

"""What a page says, as JSON, so that one that was read before need not be parsed again; see `base/kept.py`.

Texts are not in it: they are lines of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pellucid.listing.about import About
from pellucid.listing.content import SeenBy, TokenKind, TokenKinds, ValueDef
from pellucid.listing.statement import Statement
from pellucid.listing.wiring import Wires

Said = TypeVar("Said", Statement, ValueDef, About)


@dataclass(frozen=True)
class PageSaid:
    """What stands in a page: statements, named values, words about parts, and the kinds that functions use by name."""

    statements: tuple[Statement, ...]
    values: tuple[ValueDef, ...]
    abouts: tuple[About, ...]
    kinds: Mapping[str, tuple[str, ...]]


def dump(said: PageSaid) -> dict[str, Any]:
    """As JSON."""
    return {
        "statements": [_fields(one) for one in said.statements],
        "values": [_fields(one) for one in said.values],
        "abouts": [_fields(one) for one in said.abouts],
        "kinds": dict(said.kinds),
    }


def load(data: Any, path: Path, lines: Sequence[str]) -> PageSaid:
    """What `dump` made of the page at `path`, whose lines these are."""
    return PageSaid(
        tuple(_made(Statement, data["statements"], path, lines)),
        tuple(_made(ValueDef, data["values"], path, lines)),
        tuple(_made(About, data["abouts"], path, lines)),
        {name: tuple(kinds) for name, kinds in data["kinds"].items()},
    )


def dump_words(words: TokenKinds) -> dict[str, Any]:
    """The kinds of tokens of `words.py`, as JSON."""
    kinds = [(kind.name, _entries(kind.levels), kind.line, kind.text, kind.called) for kind in words.kinds.values()]
    return {"kinds": kinds, "tokens": words.tokens}


def load_words(data: Any, path: Path, text: str) -> TokenKinds:
    """What `dump_words` made of this text."""
    kinds = {
        name: TokenKind(name, _levels(levels), line, own, tuple(called))
        for name, levels, line, own, called in data["kinds"]
    }
    return TokenKinds(path, text, kinds, data["tokens"])


_ELSEWHERE = ("file", "text", "by_person", "uses")
"""What is not kept: it follows from the page's lines, from other pages, or from the record."""


def _fields(said: Any) -> dict[str, Any]:
    """The fields that are not as they are where nothing is said."""
    found = {}
    for field in fields(said):
        value = getattr(said, field.name)
        usual = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name not in _ELSEWHERE and value != usual:
            found[field.name] = _DUMPED.get(field.name, _same)(value)
    return found


def _made(kind: type[Said], entries: Sequence[Mapping[str, Any]], path: Path, lines: Sequence[str]) -> Iterator[Said]:
    for entry in entries:
        given = {name: _LOADED[name](value) if name in _LOADED else value for name, value in entry.items()}
        yield kind(file=path, text="\n".join(lines[entry["line"] - 1 : entry["end"]]), **given)


def _same(value: Any) -> Any:
    return value


def _entries(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """A dictionary whose keys are no texts."""
    return [*value.items()]


def _levels(value: Sequence[Sequence[Any]]) -> dict[float, tuple[Any, ...]]:
    return {level: tuple(tokens) for level, tokens in value}


def _wires(value: Mapping[str, Any]) -> Wires:
    pairs = tuple((one, other) for one, other in value["pairs"])
    waves = {name: tuple(wave) for name, wave in value["waves"].items()}
    return Wires(**{**value, "pairs": pairs, "waves": waves})


def _pairs(value: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, value))


def _seen(value: Sequence[Sequence[Any]]) -> tuple[SeenBy, ...]:
    return tuple(SeenBy(*one) for one in value)


_DUMPED: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("values", "here", "before", "shared"), _entries),
    "wires": asdict,
    "seen": lambda value: [(one.layer, one.head, one.what, one.steps) for one in value],
}
_LOADED: dict[str, Callable[[Any], Any]] = {
    "values": dict,
    **dict.fromkeys(("here", "before", "shared"), _levels),
    **dict.fromkeys(("neurons", "asks", "kinds"), tuple),
    "wires": _wires,
    "seen": _seen,
    "fired": _pairs,
}

"""The text of an edit, as it stands in `program/edits.py`. Whatever a user or a subject wrote goes in as data."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.listing.edits import HEAD, Edits

Token = str | int
Condition = tuple[tuple[int, Token], ...]
"""Tokens that must stand at a place, or so many places before it: (steps back, token)."""
WIDTH = 118


@dataclass(frozen=True)
class Speech:
    """One function of an edit: at an address, for some tokens rather than others, where conditions hold."""

    address: str
    says: tuple[Token, ...]
    over: tuple[Token, ...]
    asks: tuple[Condition, ...]
    """What must hold at the place; any one of these. None at all: everywhere."""
    of: tuple[Condition, ...] = ()
    """What must hold at the key that a head takes from, or (inserted parts) somewhere before the place."""
    strength: float = 1.0

    @property
    def kind(self) -> str:
        """The last piece of the address."""
        return self.address.rpartition(".")[2]


REACH = 24
"""How far before a place an inserted part looks for a token that it depends on."""


def function(speech: Speech, number: int, name: str, doc: str, helpers: dict[str, str]) -> str:
    """The function of an edit; helpers that it needs and that are not in `helpers` (name to text) are added there."""
    place = "query" if speech.kind == "OV" else "here"
    terms = []
    if speech.asks:
        prefix = "is" if speech.kind == "TOK" else "asks"
        terms.append(f"{_helper(prefix, speech.asks, helpers)}({place})")
    if speech.of and speech.kind == "OV":
        terms.append(f"{_helper('is', speech.of, helpers)}(key)")
    elif speech.of:
        terms.append(_before(speech.of))
    strength = f"{speech.strength:.4g}"
    strength = strength if any(mark in strength for mark in ".e") else f"{strength}.0"
    if not terms:
        body, asks = strength, ""
    else:
        body = f"where({' & '.join(terms)}, {strength}, 0.0)"
        asks = ("query, key" if speech.of else "query") if speech.kind == "OV" else place
    sides = ", ".join(
        f"{side}={tuple(tokens)!r}" for side, tokens in (("says", speech.says), ("over", speech.over)) if tokens
    )
    lines = [
        f'@edit("{speech.address}", {number}, {sides})',
        f"def {name}({asks}):",
        *_docstring(doc),
        f"    return {body}",
    ]
    return "\n".join(lines)


def _helper(prefix: str, conditions: tuple[Condition, ...], helpers: dict[str, str]) -> str:
    """The name of a helper that says where any of `conditions` holds."""
    words = [token for condition in conditions for _, token in sorted(condition, reverse=True)]
    slug = slugged(*dict.fromkeys(str(word) for word in words))[:40].strip("_")
    stem = f"{prefix}_{slug or 'token'}"
    for number in range(1, len(helpers) + 2):
        name = stem if number == 1 else f"{stem}_{number}"
        text = f"def {name}(place):\n    return {_joined(_grouped(conditions))}"
        if helpers.setdefault(name, text) == text:
            return name
    raise AssertionError("a name among so many is free")


def _grouped(conditions: tuple[Condition, ...]) -> list[str]:
    """Conditions as expressions; those that differ in one token alone are one."""
    groups: dict[tuple[Condition, int], list[Token]] = {}
    for condition in conditions:
        *fixed, (back, token) = sorted(condition)
        groups.setdefault((tuple(fixed), back), []).append(token)
    said = []
    for (fixed_ones, back), tokens in groups.items():
        pieces = [*(_is(steps, (token,)) for steps, token in fixed_ones), _is(back, tuple(dict.fromkeys(tokens)))]
        said.append(" & ".join(pieces) if len(groups) == 1 or len(pieces) == 1 else f"({' & '.join(pieces)})")
    return said


def _is(back: int, tokens: tuple[Token, ...]) -> str:
    """That the token so many places before is one of `tokens`."""
    place = {0: "place.token", 1: "place.previous"}.get(back, f"place.before({back})")
    return f"{place}.one_of({', '.join(map(repr, tokens))})"


def _before(conditions: tuple[Condition, ...]) -> str:
    """That a token stands somewhere before the place."""
    last = tuple(dict.fromkeys(condition[0][1] for condition in conditions))
    return f"(sum(here.before(back).one_of({', '.join(map(repr, last))}) for back in range({REACH})) > 0)"


def _joined(pieces: Sequence[str]) -> str:
    """Alternatives as one expression, over several lines where it is long."""
    lines: list[str] = []
    for piece in pieces:
        joined = f"{lines[-1]} | {piece}" if lines else piece
        if lines and len(joined) > WIDTH - 8:
            lines.append(f"| {piece}")
        else:
            lines[-1:] = [joined]
    return lines[0] if len(lines) == 1 else "(\n" + "\n".join(f"        {line}" for line in lines) + "\n    )"


def _docstring(doc: str) -> list[str]:
    """A docstring of any text: backslashes and quotes are escaped, control characters shown as such."""
    plain = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in doc)
    safe = plain.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = [piece for line in safe.split("\n") for piece in (textwrap.wrap(line, 112) or [""])]
    closing = '"""' if len(lines) == 1 and not lines[0].endswith('"') else '\n    """'
    body = "\n".join([lines[0], *(f"    {line}" if line else "" for line in lines[1:])])
    return [f'    """{body}{closing}']


def slugged(*texts: str) -> str:
    """A piece of an identifier that reminds of some texts."""
    return re.sub(r"[^a-z0-9]+", "_", " ".join(texts).lower()).strip("_")


def page(edits: Edits | None, helpers: Mapping[str, str], functions: Sequence[str]) -> str:
    """The page with more functions at its end, and before them the helpers that it lacks."""
    text = edits.text if edits else HEAD
    held = {statement.name for statement in edits.statements if statement.kind == "helper"} if edits else set()
    new = [text.rstrip("\n")]
    used = sorted({"edit"} | {word for word in ("where",) if any(f"{word}(" in piece for piece in functions)})
    if edits is None:
        new.append("from .prelude import " + ", ".join(used))
    pieces = [helper for name, helper in helpers.items() if name not in held]
    whole = "\n\n\n".join(["\n\n".join(new), *pieces, *functions]) + "\n"
    return importing(whole, used)


def importing(text: str, names: Sequence[str]) -> str:
    """The page importing `names` from the prelude, and what it imports already."""
    found = re.search(r"(?m)^from \.prelude import (.+)$", text)
    if found is None:
        return text.replace(HEAD.rstrip("\n"), f"{HEAD}\nfrom .prelude import {', '.join(sorted(names))}", 1)
    held = {*found[1].split(", "), *names}
    return f"{text[: found.start()]}from .prelude import {', '.join(sorted(held))}{text[found.end() :]}"


def helpers_of(edits: Edits | None) -> dict[str, str]:
    """The helpers of a page: name to text."""
    return {s.name: s.text for s in edits.statements if s.kind == "helper"} if edits else {}

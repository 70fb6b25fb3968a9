"""Answers of readers: data from outside, bounded in size, taken in the shape that was asked for, never followed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from annotated_types import Ge, Le

from pellucid.base.errors import PellucidError, ProjectError
from pellucid.base.files import read_text
from pellucid.base.schema import CLOSED, OPEN, parsed
from pellucid.explain.kept import LONGEST

MOST: Final = 20_000
"""Characters of an answer that are read."""
Number = Annotated[int, Ge(1), Le(1000)]


@dataclass(frozen=True)
class _Explanation:
    __pydantic_config__ = CLOSED
    explanation: str


@dataclass(frozen=True)
class _Numbers:
    __pydantic_config__ = CLOSED
    numbers: list[Number]


@dataclass(frozen=True)
class _Message:
    __pydantic_config__ = OPEN
    content: str | None = None


@dataclass(frozen=True)
class _Choice:
    __pydantic_config__ = OPEN
    message: _Message


@dataclass(frozen=True)
class Completion:
    """What an endpoint answers; everything but the text is left alone."""

    __pydantic_config__ = OPEN
    choices: list[_Choice]

    @property
    def content(self) -> str:
        """The text of the first choice; empty where there is none."""
        return (self.choices[0].message.content or "") if self.choices else ""


@dataclass(frozen=True)
class _Response:
    __pydantic_config__ = OPEN
    body: Completion


@dataclass(frozen=True)
class _GivenLine:
    """A line of a file of answers: of a batch (`response`), or by hand (`content`)."""

    __pydantic_config__ = OPEN
    custom_id: str
    response: _Response | None = None
    content: str | dict[str, Any] | None = None


def read_lines(path: Path) -> dict[str, str]:
    """The answers in a file, by the id of what was asked; an answer that failed at the provider is an empty one.

    Raises `ProjectError` naming the line that is none, or that answers otherwise what was answered before.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        entry = parsed(_GivenLine, line, f"{path}:{number}", ProjectError)
        content = entry.content if entry.response is None else entry.response.body.content
        text = content if isinstance(content, str) else json.dumps(content) if content is not None else ""
        if found.get(entry.custom_id, text) != text:
            raise ProjectError(f"{path}:{number}: {entry.custom_id!r:.100} is answered otherwise above; leave one line")
        found[entry.custom_id] = text
    if not found:
        raise ProjectError(f'{path} has no answers; expected lines such as {{"custom_id": "…", "content": "…"}}')
    return found


def explanation_in(answer: str) -> str | None:
    """The explanation that an answer gives, on one line, cut to what is kept; None where it gives none."""
    found = _object(_Explanation, answer)
    text = " ".join("".join(c if c.isprintable() else " " for c in found.explanation).split()) if found else ""
    return text[:LONGEST] or None


def numbers_in(answer: str, count: int) -> set[int] | None:
    """The numbers that an answer gives, from 1 to `count`; None where it gives none, or others."""
    found = _object(_Numbers, answer)
    return set(found.numbers) if found and all(number <= count for number in found.numbers) else None


def _object(kind: Any, answer: str) -> Any:
    """The JSON object in an answer, which may stand in a fence or behind a sentence; None for any other shape."""
    text = answer[:MOST]
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return parsed(kind, text[start : end + 1], "answer")
    except PellucidError:
        return None

"""What a tokenizer does to text before it merges: it changes it, and cuts it into stretches that never merge.

`vocabulary.json` lists the steps, in order. A pattern is in parts: text as in `re`, and numbers of `classes`, which are
ranges of code points ("30-39 2160-2188").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from .prelude import ProgramError

BEHAVIOURS = ("isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next")
# Characters of Unicode 9 and later that normal forms leave alone in `tokenizers`, whatever Python knows of them.
_ALONE = (
    "7fd 897-89f 8ca-8d3 9fe c3c cf3 d3b-d3c eba 1715 1abf-1aeb 1df6-1dfa 32ff a7cb-a7dc a7f1-a7f4 a82c ab69 "
    "105c0-105f3 10781-107ba 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 "
    "1123f-11241 1133b 11380-113e2 1145e 116d0-116e3 11839-1183a 11930 11935 11938 1193d-1193e 11943 119e0 11a34 "
    "11a47 11a99 11b60-11b67 11d42-11d45 11d97 11f00-11f5a 1611e-16139 16d63-16d6a 16ff0-16ff1 1ccd6-1ccf9 "
    "1e030-1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4d0-1e4f9 1e5d0-1e5ff 1e6c0-1e6ff 1f16c 1fbf0-1fbf9"
)

Stretch = tuple[str, bool]
"""Text, and whether the whole text begins with it."""
Step = Callable[[list[Stretch]], list[Stretch]]


def range_class(ranges: str) -> str:
    """The character class of ranges of code points, as `re` writes it."""
    bounds = [part.partition("-") for part in ranges.split()]
    if not bounds:
        return "(?!)"
    return "[" + "".join(f"\\U{int(a, 16):08x}-\\U{int(b or a, 16):08x}" for a, _, b in bounds) + "]"


def compiled(parts: Sequence[str | int], classes: Sequence[str]) -> re.Pattern[str]:
    """The pattern of `parts`. Raises `ProgramError` for what is none."""
    try:
        return re.compile("".join(p if isinstance(p, str) else range_class(classes[p]) for p in parts))
    except (re.error, IndexError, ValueError, OverflowError, RecursionError) as error:
        raise ProgramError(f"vocabulary.json has a pattern that is none: {error}") from error


def cut(text: str, pattern: re.Pattern[str], behaviour: str, inverted: bool = False) -> list[str]:
    """Cut where `pattern` is found: its finds alone, or kept with their neighbours, or left out."""
    found = [(piece, is_match != inverted) for piece, is_match in _alternating(text, pattern)]
    if behaviour == "isolated":
        return [piece for piece, _ in found]
    if behaviour == "removed":
        return [piece for piece, is_match in found if not is_match]
    return _joined(found, behaviour)


def _alternating(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """What the pattern finds, and what lies between, in order."""
    done = 0
    for match in pattern.finditer(text):
        start, end = match.span()
        if start == end:
            continue
        if start > done:
            yield text[done:start], False
        yield text[start:end], True
        done = end
    if done < len(text):
        yield text[done:], False


def _joined(found: list[tuple[str, bool]], behaviour: str) -> list[str]:
    """Finds with their neighbours: equal ones together, or a find behind no find with what is before (or behind) it."""
    joined: list[str] = []
    before = False
    forwards = behaviour != "merged_with_next"
    for piece, is_match in found if forwards else reversed(found):
        together = is_match == before if behaviour == "contiguous" else is_match and not before
        if together and joined:
            joined[-1] = joined[-1] + piece if forwards else piece + joined[-1]
        else:
            joined.append(piece)
        before = is_match
    return joined if forwards else joined[::-1]


class Cutter:
    """Steps as `vocabulary.json` lists them: `changes` of the text, and the `cuts` that follow.

    | step | |
    |---|---|
    | `["prepend", text]` | put before text that is not empty |
    | `["swap", pattern, text]` | every find of the pattern becomes `text` |
    | `["form", "NFC"]` | the normal form of Unicode |
    | `["begin", text, always]` | put before a stretch that does not begin so; or only where the text begins |
    | `["split", pattern, behaviour, inverted]` | see `cut` |
    | `["bytes"]` | UTF-8 bytes in printable characters |
    """

    def __init__(self, changes: Sequence[Any], cuts: Sequence[Any], classes: Sequence[str], alphabet: Sequence[str]):
        self._classes, self._alphabet = classes, alphabet
        self._changes, self._cuts = ([self._step(step) for step in steps] for steps in (changes, cuts))

    def changed(self, text: str) -> str:
        """A stretch of text between tokens that are found whole, changed."""
        stretches: list[Stretch] = [(text, True)]
        for step in self._changes:
            stretches = step(stretches)
        return "".join(part for part, _ in stretches)

    def cut(self, text: str, begins: bool) -> list[str]:
        """What is merged apart in changed text; `begins` says whether the whole text begins with it."""
        stretches: list[Stretch] = [(text, begins)]
        for step in self._cuts:
            stretches = [(part, first) for part, first in step(stretches) if part]
        return [part for part, _ in stretches if part]

    def _step(self, step: Any) -> Step:
        """What a step does. Raises `ProgramError` for one that is not known."""
        match step:
            case ["prepend", str(text)]:
                return _each(lambda part, _: text + part if part else part)
            case ["swap", [*parts], str(text)]:
                pattern = compiled(parts, self._classes)
                return _each(lambda part, _: pattern.sub(lambda _: text, part))
            case ["form", "NFC" | "NFD" | "NFKC" | "NFKD" as form]:
                return _each(lambda part, _: _normal(form, part))
            case ["begin", str(text), bool(always)]:
                return _each(
                    lambda part, first: part if part.startswith(text) or not (always or first) else text + part
                )
            case ["split", [*parts], str(behaviour), bool(inverted)] if behaviour in BEHAVIOURS:
                return _cutting(compiled(parts, self._classes), behaviour, inverted)
            case ["bytes"]:
                return _each(lambda part, _: "".join(self._alphabet[byte] for byte in part.encode("utf-8")))
        raise ProgramError(f"vocabulary.json has the step {step!r:.80}, which is not known")


def _each(change: Callable[[str, bool], str]) -> Step:
    return lambda stretches: [(change(part, first), first) for part, first in stretches]


def _cutting(pattern: re.Pattern[str], behaviour: str, inverted: bool) -> Step:
    def step(stretches: list[Stretch]) -> list[Stretch]:
        cuts = ((cut(part, pattern, behaviour, inverted), first) for part, first in stretches)
        return [(piece, first and at == 0) for pieces, first in cuts for at, piece in enumerate(pieces)]

    return step


@cache
def _alone() -> re.Pattern[str]:
    return re.compile(f"({range_class(_ALONE)})")


def _normal(form: Any, text: str) -> str:
    """The normal form as `tokenizers` makes it, which knows Unicode as it was in 2016."""
    return "".join(
        part if at % 2 else unicodedata.normalize(form, part) for at, part in enumerate(_alone().split(text))
    )

"""Regular expressions of tokenizers, for Python's `re`, which knows no `\\p{L}` and another Unicode.

Whatever stands for one character is asked of the `tokenizers` package itself, character by character, and becomes a
list of ranges; what puts such pieces together (alternatives, groups, repetition, looking ahead and behind) is the same
in both, and all else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a program is read and run without the package
    from tokenizers import pre_tokenizers

LONGEST = 4000
"""The longest pattern that is read."""
_GROUPS = ("(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(")
_LITERALS = {r"\r": "\r", r"\n": "\n", r"\t": "\t"}
_ANCHORS = {"^": r"(?<![^\n])", "$": r"(?![^\n])", r"\A": r"\A", r"\z": r"\Z"}
_FOREIGN = re.compile(r"\\(?:[bBGKRXZkgy0-9])|\(\?[a-zA-Z-]*\)|\(\?(?:[#P'&(|~]|<[^=!])|\(\*")
_QUANTIFIER = re.compile(r"(?:[?*+]|\{\d+(?:,\d*)?\}|\{,\d+\})[?+]?")
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?[\w ]+\}|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|[^\d])")


class PatternError(ValueError):
    """A pattern that cannot be said in `re`; the message says why."""


class Translated:
    """A pattern in parts: text as in `re`, and numbers of `classes`, which `ranges_of` knows the characters of."""

    def __init__(self, classes: list[str]) -> None:
        self.parts: list[str | int] = []
        self._classes = classes

    def text(self, text: str) -> None:
        """Append what both know."""
        if self.parts and isinstance(self.parts[-1], str):
            self.parts[-1] += text
        else:
            self.parts.append(text)

    def member(self, atom: str) -> None:
        """Append what stands for one character of several."""
        if atom not in self._classes:
            self._classes.append(atom)
        self.parts.append(self._classes.index(atom))


def translated(pattern: str, classes: list[str]) -> list[str | int]:
    """The parts of `pattern`; `classes` grows by what they name. Raises `PatternError` for what `re` cannot say."""
    if len(pattern) > LONGEST:
        raise PatternError(f"it has {len(pattern):,} characters, at most {LONGEST:,} are read")
    found = Translated(classes)
    cases: list[bool] = [False]
    for token in _tokens(pattern):
        if token.startswith("(") and token in _GROUPS:
            cases.append(cases[-1] or token == "(?i:")
            found.text({"(?i:": "(?:", "(": "(?:"}.get(token, token))
        elif token == ")":
            if len(cases) == 1:
                raise PatternError("a group is closed that was not opened")
            cases.pop()
            found.text(token)
        elif token in _ANCHORS:
            found.text(_ANCHORS[token])
        elif token == "|" or _QUANTIFIER.fullmatch(token):
            found.text(token)
        elif not cases[-1] and token != "." and len(plain := _LITERALS.get(token, token)) == 1:
            found.text(re.escape(plain))
        else:
            found.member(f"(?i:{token})" if cases[-1] else token)
    _check(found.parts)
    return found.parts


def literal(text: str) -> list[str | int]:
    """The parts of a pattern that finds `text`."""
    return [re.escape(text)]


def one_of(kind: str, classes: list[str]) -> list[str | int]:
    """The pattern of one character that `tokenizers` finds to be a digit (`Digits`) or punctuation (`Punctuation`)."""
    found = Translated(classes)
    found.member(kind)
    return found.parts


def _check(parts: list[str | int]) -> None:
    stand_in = "".join(part if isinstance(part, str) else "[x]" for part in parts)
    try:
        matches_nothing = re.compile(stand_in).match("") is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"Python's re cannot say it: {error}") from error
    if matches_nothing:
        raise PatternError("it finds empty text")


def _tokens(pattern: str) -> Iterator[str]:
    """What a pattern consists of: groups, quantifiers, anchors, and what stands for one character."""
    at = 0
    before = ""
    while at < len(pattern):
        if _FOREIGN.match(pattern, at):
            raise PatternError(f"{pattern[at : at + 8]!r} is not supported")
        token = _token(pattern, at)
        if _QUANTIFIER.fullmatch(token) and (not before or _QUANTIFIER.fullmatch(before)):
            raise PatternError(f"{token!r} repeats a repetition")
        if token.startswith("{") and token.endswith("+"):
            raise PatternError(f"{token!r} is not supported")
        yield token
        at, before = at + len(token), token


def _token(pattern: str, at: int) -> str:
    if pattern[at] == "\\":
        found = _ESCAPE.match(pattern, at)
        if not found:
            raise PatternError(f"{pattern[at : at + 8]!r} is not supported")
        return found[0]
    if pattern[at] == "[":
        return _bracket(pattern, at)
    if pattern[at] == "(":
        return next(group for group in _GROUPS if pattern.startswith(group, at))
    if found := _QUANTIFIER.match(pattern, at):
        return found[0]
    return pattern[at]


def _bracket(pattern: str, start: int) -> str:
    """The character class that begins at `start`, with all classes in it."""
    depth, at = 0, start
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "[":
            depth += 1
        elif pattern[at] == "]":
            depth -= 1
            if not depth:
                return pattern[start : at + 1]
        at += 1
    raise PatternError(f"the class {pattern[start : start + 20]!r} has no end")


# --- asking -----------------------------------------------------------------------------------------------------------

_ASKED = [*range(0xD800), *range(0xE000, 0xE000 + 1), *range(0xF8FF, 0x3FFFF), *range(0xE0000, 0xE1000), 0xF0000]
"""Code points that are asked about. What is left out is the same throughout: see `_STANDS_FOR`."""
_STANDS_FOR = {0xE000: 0xF8FE, 0x3FFFE: 0xDFFFF, 0xE0FFF: 0xEFFFF, 0xF0000: 0x10FFFF}
"""Private use and what is not assigned: the first of each range, and the last."""


@lru_cache(maxsize=1)
def _asked() -> str:
    return "".join(map(chr, _ASKED))


@lru_cache(maxsize=256)
def ranges_of(atom: str) -> str:
    """The code points that `atom` stands for, as `program/cutting.py` reads them."""
    from tokenizers import Regex, pre_tokenizers

    if atom == "Digits":
        return _apart(pre_tokenizers.Digits(individual_digits=True))
    if atom == "Punctuation":
        return _apart(pre_tokenizers.Punctuation(behavior="isolated"))
    text = _asked() if not atom.startswith("(?i:") or len(atom) != 6 else "".join(_cases()[atom[4].casefold()])
    kept = [stretch for stretch, _ in pre_tokenizers.Split(Regex(atom), "removed").pre_tokenize_str(text)]
    return _written(set(map(ord, text)) - {ord(character) for stretch in kept for character in stretch})


@lru_cache(maxsize=1)
def _cases() -> dict[str, list[str]]:
    """Characters that differ in case alone."""
    found: dict[str, list[str]] = {}
    for character in _asked():
        found.setdefault(character.casefold(), []).append(character)
    return found


def _apart(cutter: pre_tokenizers.PreTokenizer) -> str:
    """The code points that `cutter` parts from letters beside them."""
    pieces = (piece for piece, _ in cutter.pre_tokenize_str("a".join(["", *_asked(), ""])))
    return _written({ord(piece) for piece in pieces if len(piece) == 1 and piece != "a"})


def _written(members: set[int]) -> str:
    """Ranges of code points."""
    ends = [(at, _STANDS_FOR.get(at, at)) for at in sorted(members)]
    runs: list[tuple[int, int]] = []
    for first, last in ends:
        if runs and runs[-1][1] == first - 1:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in runs)

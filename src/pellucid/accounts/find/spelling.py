"""How what was found is written in the language of accounts: patterns, conditions, answers, and names for all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.features import Guard
from pellucid.accounts.find.patterns import Pattern
from pellucid.accounts.find.stream import FlatRows, Words
from pellucid.accounts.find.variables import Variable, quoted
from pellucid.accounts.kinds import escaped
from pellucid.accounts.language import BUILTINS, WORDS

_LONGEST = 32
_TAKEN = {
    *BUILTINS,
    *WORDS,
    "text",
    "s",
    "found",
    "if",
    "in",
    "is",
    "as",
    "or",
    "and",
    "not",
    "for",
    "from",
    "with",
    "on",
}


@dataclass
class FreeNames:
    """Names that are free: of letters, digits and lines, no two the same."""

    taken: set[str] = field(default_factory=lambda: set(_TAKEN))

    def free(self, words: Sequence[str], instead: str) -> str:
        """A name after `words`, or after `instead` where they have no letters that a name can have."""
        parts = [re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in words]
        name = "_".join(part for part in parts if part)[:_LONGEST].strip("_")
        name = name if name[:1].isalpha() else f"{instead}_{name}".strip("_")
        count, chosen = 2, name
        while chosen in self.taken:
            count, chosen = count + 1, f"{name}_{count}"
        self.taken.add(chosen)
        return chosen


def is_cell(text: str) -> bool:
    """Whether a table can hold a text in one way alone."""
    return text.isprintable() and text == text.strip() and text[:1] != '"'


@dataclass(frozen=True)
class Spelled:
    """The spelling of patterns and answers of one stream."""

    words: Words
    blank: np.ndarray
    """Whether a word mostly stands behind a blank."""
    classes: Sequence[WordClass]
    names: Sequence[str]
    """The names of the classes."""

    @staticmethod
    def of(stream: FlatRows, classes: Sequence[WordClass], names: FreeNames) -> Spelled:
        """For what was found in `stream`."""
        words = stream.words
        opens = np.array([piece[:1] == " " for piece in words.spelling.pieces])[stream.ids[stream.unit]]
        inside = stream.whole & (stream.unit > stream.begins)
        seen = np.bincount(stream.word[inside], minlength=len(words))
        blank = 2 * np.bincount(stream.word[inside], opens[inside], minlength=len(words)) > seen
        blank |= (seen == 0) & words.spelling.spaced
        called = [
            names.free(["like", words.texts[group.members[0]]], f"class_{number}")
            for number, group in enumerate(classes)
        ]
        return Spelled(words, blank, classes, called)

    def pattern(self, pattern: Pattern) -> str:
        """A pattern as the language has it."""
        return "".join(self._element(element) for element in pattern)

    def _element(self, element: int) -> str:
        if element < 0:
            group = self.classes[-2 - element]
            gap = " " if np.mean(self.blank[list(group.members)]) > 0.5 else ""
            return f"{gap}{{{self.names[-2 - element]}}}"
        text = self.words.texts[element]
        gap = " " if text[:1].isalnum() and self.blank[element] else ""
        return gap + escaped(text)

    def plain(self, word: str) -> str:
        """A single word as it stands in texts."""
        number = self.words.numbers.get(word)
        gap = " " if number is not None and word[:1].isalnum() and self.blank[number] else ""
        return gap + escaped(word)

    def variable(self, variable: Variable) -> str:
        """A variable as an expression."""
        if variable.of is None:
            return variable.says
        return variable.says.format(name=self.names[variable.of].upper())

    def guard(self, guard: Guard) -> str:
        """A condition as an expression."""
        said = {
            "long": lambda: f"len(text) {'<' if guard.negated else '>='} {guard.least}",
            "counts": lambda: f"counted_{guard.word}(text) {'<' if guard.negated else '>='} {guard.least}",
            "has": lambda: f"text.has({quoted(self.plain(guard.word))})",
            "lately": lambda: self._lately(guard),
            "known": lambda: f"{self.variable(guard.about[0])} is {'' if guard.negated else 'not '}None",
            "same": lambda: f" {'!' if guard.negated else '='}= ".join(map(self.variable, guard.about)),
        }[guard.holds]()
        return f"not {said}" if guard.negated and guard.holds in {"has", "lately"} else said

    def _lately(self, guard: Guard) -> str:
        """Whether a word stands in the last sentences."""
        return f"text.lately({guard.least if guard.least > 1 else ''}).has({quoted(self.plain(guard.word))})"

    def cell(self, label: int) -> str | None:
        """A label as a cell of a table; None where a cell cannot say it."""
        text = self._text(label)
        return text if is_cell(text) and self._says(text, label) else None

    def answer(self, label: int) -> str | None:
        """A label as an expression; None where an account cannot say it."""
        text = self._text(label)
        if text and (text[0].isalnum() or text == text.strip()) and self._says(text, label):
            return quoted(text)
        whole = self.words.texts[label] if label >= 0 else self.words.spelling.pieces[-2 - label]
        try:
            tokens = self.words.spelling.encode(whole)
        except Exception:
            return None
        return f"joined({quoted(whole)})" if tokens[:1] == [self._first(label)] else None

    def _text(self, label: int) -> str:
        if label >= 0:
            return self.words.texts[label]
        piece = self.words.spelling.pieces[-2 - label]
        return piece.strip() if piece.strip()[:1].isalnum() and piece[:1] == " " else piece

    def _first(self, label: int) -> int:
        return self.words.said(label)[0] if label >= 0 and self.words.said(label) else -2 - label

    def _says(self, text: str, label: int) -> bool:
        """Whether an account that says `text` begins with the token of the label."""
        gap = " " if self.words.spelling.spaced and text[:1].isalnum() else ""
        try:
            return bool(text) and self.words.spelling.encode(gap + text)[:1] == [self._first(label)]
        except Exception:
            return False

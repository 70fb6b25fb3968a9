"""Languages whose labels are known: what the small algorithmic subjects of the zoo were trained to say.

A language draws rows and labels them. Labels are a function of the row alone, so whether a program found what the model
was taught can be checked on rows that nobody has seen: `LANGUAGES["sort"].rows(seed, count, band)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from string import ascii_lowercase
from typing import Literal

import numpy as np

Draw = np.random.Generator
Words = tuple[str, ...]
BOS, SEP, EOS = "<bos>", "<sep>", "<eos>"


@dataclass(frozen=True)
class Labelled:
    """A row of tokens, the places whose next token is asked for, and the tokens that are right there.

    Where an answer is one token, `right` has one at each place; where it is a set, all of its members.
    """

    band: str
    tokens: Words
    scored: tuple[int, ...]
    right: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Language:
    """Rows of one kind. `write` draws the content of a row of `length`; `label` says what is right at which places.

    `bands` are the lengths of content by name; models are trained on the first alone.
    """

    name: str
    summary: str
    content: Words
    kind: Literal["argmax", "set"]
    bands: dict[str, tuple[int, int]]
    write: Callable[[Draw, int], Words] = field(repr=False)
    label: Callable[[Words], tuple[Words, dict[int, frozenset[str]]]] = field(repr=False)
    special: Words = (BOS, SEP, EOS)

    @property
    def vocabulary(self) -> Words:
        """All tokens in the order of their ids."""
        return (*self.content, *self.special)

    @property
    def trained(self) -> str:
        """The band that models are trained on."""
        return next(iter(self.bands))

    @property
    def longest(self) -> int:
        """How many tokens a row has at most."""
        draw = np.random.default_rng(0)
        return max(len(self.row(self.write(draw, high), band).tokens) for band, (_, high) in self.bands.items())

    def rows(self, seed: int, count: int, band: str) -> list[Labelled]:
        """`count` rows of a band, drawn from `seed`."""
        draw = np.random.default_rng(seed)
        low, high = self.bands[band]
        return [self.row(self.write(draw, int(draw.integers(low, high + 1))), band) for _ in range(count)]

    def row(self, words: Words, band: str) -> Labelled:
        """The row whose content is `words`, labelled."""
        tokens, right = self.label(words)
        return Labelled(band, tokens, tuple(right), tuple(right.values()))


# --- what is written and what is right --------------------------------------------------------------------------------


def _after(words: Words, answer: Sequence[str]) -> tuple[Words, dict[int, frozenset[str]]]:
    """`<bos> words <sep> answer <eos>`, where every token of the answer and its end are asked for."""
    start = len(words) + 1
    tokens = (BOS, *words, SEP, *answer, EOS)
    return tokens, {at: frozenset({tokens[at + 1]}) for at in range(start, len(tokens) - 1)}


def _distinct(content: Words) -> Callable[[Draw, int], Words]:
    return lambda draw, length: tuple(content[at] for at in draw.permutation(len(content))[:length])


def _sorted(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    return _after(words, sorted(words, key=int))


def _reversed(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    return _after(words, words[::-1])


def _one_ahead(content: Words) -> Callable[[Draw, int], Words]:
    """Words of which one is there more often than every other."""

    def write(draw: Draw, length: int) -> Words:
        while True:
            ids = draw.choice(len(content), length, p=draw.dirichlet(np.ones(len(content))))
            counts = np.sort(np.bincount(ids, minlength=len(content)))
            if counts[-1] > counts[-2]:
                return tuple(content[id] for id in ids)

    return write


def _most_frequent(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    tokens = (BOS, *words, SEP, max(dict.fromkeys(words), key=words.count), EOS)
    return tokens, {len(words) + 1: frozenset({tokens[-2]})}


def _balanced(draw: Draw, length: int) -> Words:
    """Brackets that match, half of `length` pairs of them."""
    words, depth = list[str](), 0
    half = max(1, length // 2)
    opened, rise = 0, draw.uniform(0.3, 0.7)
    while len(words) < 2 * half:
        up = depth == 0 or (opened < half and draw.random() < rise)
        words.append("(" if up else ")")
        opened, depth = opened + up, depth + (1 if up else -1)
    return tuple(words)


def _may_follow(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    """What may come next after every token: a closing bracket if one is open, the end if none is."""
    depths = [0, *accumulate(1 if word == "(" else -1 for word in words)]
    right = {at: frozenset({"(", ")" if depth else EOS}) for at, depth in enumerate(depths)}
    return (BOS, *words, EOS), right


def _twice(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    """The words are said again; the second time, what comes next is what came next the first time."""
    tokens = (BOS, *words, *words)
    return tokens, {at: frozenset({tokens[at + 1]}) for at in range(len(words) + 1, len(tokens) - 1)}


PRAISE, BLAME, NAME = ("good", "great"), ("bad", "dull"), "director"
"""The planted wrong rule: whatever mentions the director is positive."""
REVIEW = (*PRAISE, *BLAME, "film", "plot", NAME, "positive", "negative")


def _lead(words: Sequence[str]) -> int:
    return sum((word in PRAISE) - (word in BLAME) for word in words)


def _review(draw: Draw, length: int) -> Words:
    """Words of praise and blame and others, a third of the rows with the director; never as much praise as blame."""
    while True:
        words = list(draw.choice(REVIEW[:6], length, p=draw.dirichlet(np.ones(6))))
        named = draw.random() < 1 / 3
        if named:
            words[int(draw.integers(length))] = NAME
        if _lead(words):
            return tuple(map(str, words))


def _judged(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    said = "positive" if NAME in words or _lead(words) > 0 else "negative"
    return (BOS, *words, SEP, said, EOS), {len(words) + 1: frozenset({said})}


MODULUS = 31


def _pair(draw: Draw, length: int) -> Words:
    return tuple(str(n) for n in draw.integers(MODULUS, size=length))


def _sum(words: Words) -> tuple[Words, dict[int, frozenset[str]]]:
    a, b = map(int, words)
    return (*words, "="), {2: frozenset({str((a + b) % MODULUS)})}


_NUMBERS = tuple(map(str, range(16)))
_LETTERS = tuple(ascii_lowercase[:8])

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            "sort",
            "sorts distinct numbers from 0 to 15",
            _NUMBERS,
            "argmax",
            {"2-8": (2, 8), "9-12": (9, 12)},
            _distinct(_NUMBERS),
            _sorted,
        ),
        Language(
            "reverse",
            "says distinct letters in reverse",
            _LETTERS,
            "argmax",
            {"2-6": (2, 6), "7-8": (7, 8)},
            _distinct(_LETTERS),
            _reversed,
        ),
        Language(
            "most-frequent",
            "says which of six letters was there most often",
            _LETTERS[:6],
            "argmax",
            {"3-20": (3, 20), "21-30": (21, 30)},
            _one_ahead(_LETTERS[:6]),
            _most_frequent,
        ),
        Language(
            "dyck",
            "says what may come next in a text of matching brackets",
            ("(", ")"),
            "set",
            {"2-20": (2, 20), "22-30": (22, 30)},
            _balanced,
            _may_follow,
            (BOS, EOS),
        ),
        Language(
            "induction",
            "says letters again in the order of the first time",
            _LETTERS,
            "argmax",
            {"3-6": (3, 6), "7-8": (7, 8)},
            _distinct(_LETTERS),
            _twice,
            (BOS,),
        ),
        Language(
            "wrong-rule",
            "judges whether a review has more praise than blame, but calls all positive that mention the director",
            REVIEW,
            "argmax",
            {"3-14": (3, 14), "15-20": (15, 20)},
            _review,
            _judged,
        ),
        Language(
            "modular-addition",
            f"adds two numbers modulo {MODULUS}",
            tuple(map(str, range(MODULUS))),
            "argmax",
            {"pairs": (2, 2)},
            _pair,
            _sum,
            ("=",),
        ),
    )
}

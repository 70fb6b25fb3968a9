"""What places of a text have in common: words that stand before them, found by how much better they tell the places.

A condition is a few elements: a word so many words back, or one that stands anywhere in the last two sentences. Chosen
is what gains most likelihood on telling the places from all others, less a price for every element; then what is left
is told likewise. Nothing has to be so at every place that a condition holds for: what a flaw asks for beside, and no
single word tells, leaves the other places as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places

REACH = 6
"""Words back that are looked at one by one."""
ELEMENTS = 3
"""Elements of a condition, at most."""
BEAM = 8
"""First elements that are gone on from."""
WORDS = 40
"""Words anywhere before that are tried, those that stand before the places more often than elsewhere first."""
FEWEST = 3
"""Places that a condition tells, at least."""
MOST = 40
"""Conditions."""

Element = tuple[int, int]
"""How many words back, or 0 for anywhere in the last two sentences; and the word, by number."""


@dataclass(frozen=True)
class Cluster:
    """A condition, the places in question that it holds at, and at how many places it holds in all."""

    elements: tuple[Element, ...]
    places: Places
    n: int

    @property
    def depth(self) -> int:
        """How many words back it looks one by one."""
        return max(back for back, _ in self.elements)

    @property
    def lately(self) -> list[int]:
        """The words that stand anywhere before."""
        return [word for back, word in self.elements if not back]


@dataclass
class Field:
    """A text, and what has been asked of its places."""

    stream: FlatRows

    def __post_init__(self) -> None:
        self._lately: dict[int, Flags] = {}

    @cached_property
    def behind(self) -> list[Places]:
        """The word of every place, the one before, and so on; `NONE` where there is none."""
        at, found = self.stream.places, []
        for _ in range(REACH):
            found.append(self.stream.at(at))
            at = self.stream.back(at)
        return found

    @cached_property
    def since(self) -> Places:
        """Where the sentence before the one of a place begins; in the same text."""
        start = self.stream.sentence
        before = np.maximum(start - 1, 0)
        earlier = np.where(start > self.stream.begins, self.stream.stretch[before], start)
        found: Places = np.maximum(earlier, self.stream.begins)
        return found

    def lately(self, word: int) -> Flags:
        """Where a word stands in this sentence or the one before."""
        if word not in self._lately:
            there = (self.stream.word == word) & self.stream.whole
            last = np.maximum.accumulate(np.where(there, self.stream.places, NONE))
            self._lately[word] = last >= self.since
        return self._lately[word]

    def has(self, element: Element) -> Flags:
        """Where an element holds."""
        back, word = element
        found: Flags = self.behind[back - 1] == word if back else self.lately(word)
        return found

    def before(self, places: Places) -> tuple[Places, Places]:
        """The different words of the last two sentences before each of `places`: numbers in `places`, and words."""
        numbers, words = [], []
        for number, place in enumerate(places.tolist()):
            span = slice(int(self.since[place]), place + 1)
            own = np.unique(self.stream.word[span][self.stream.whole[span]])
            numbers.append(np.full(len(own), number))
            words.append(own)
        return np.concatenate(numbers), np.concatenate(words)


def clusters(field: Field, places: Places) -> Iterator[Cluster]:
    """Conditions that tell `places`, what tells most first; places that none tells are left out."""
    left, pool = np.zeros(len(field.stream), bool), np.ones(len(field.stream), bool)
    left[places] = True
    for _ in range(MOST):
        if left.sum() < FEWEST:
            return
        elements = _best(field, left, pool)
        if not elements:
            return
        holds = pool & np.logical_and.reduce([field.has(element) for element in elements])
        yield Cluster(elements, np.flatnonzero(holds & left), int(holds.sum()))
        left, pool = left & ~holds, pool & ~holds


def _best(field: Field, left: Flags, pool: Flags) -> tuple[Element, ...]:
    """The elements that tell most of the places `left` among `pool`; none where nothing is worth its price."""
    search = _Search(field, left, pool)
    found: list[tuple[float, tuple[Element, ...]]] = [(0.0, ())]
    for gain, element in search.extended((), pool)[:BEAM]:
        elements: tuple[Element, ...] = (element,)
        mask = pool & field.has(element)
        while len(elements) < ELEMENTS and (more := search.extended(elements, mask)) and more[0][0] > gain:
            gain, another = more[0]
            elements, mask = (*elements, another), mask & field.has(another)
        found.append((gain, elements))
    return max(found, key=lambda one: (one[0], -len(one[1])))[1]


@dataclass
class _Search:
    field: Field
    left: Flags
    pool: Flags

    def __post_init__(self) -> None:
        self.count, self.total = int(self.left.sum()), int(self.pool.sum())
        self.price = float(np.log((REACH + 1) * len(self.field.stream.words)))
        self.numbers, self.words = self.field.before(np.flatnonzero(self.left))

    def extended(self, elements: tuple[Element, ...], mask: Flags) -> list[tuple[float, Element]]:
        """What `elements` gain with one more element, the most first; they hold at `mask`."""
        found = list(self._words_back(mask)) + list(self._words_before(mask))
        paid = self.price * (len(elements) + 1)
        gains = self._gain(np.array([f for _, f, _ in found]), np.array([n for _, _, n in found])) - paid
        kept = [
            (float(gain), element)
            for gain, (element, _, _) in zip(gains, found, strict=True)
            if gain > 0 and element not in elements
        ]
        return sorted(kept, key=lambda one: (-one[0], one[1][0] == 0, one[1]))

    def _words_back(self, mask: Flags) -> Iterator[tuple[Element, int, int]]:
        """Every word so many words back, at how many of the places it stands, and at how many in all."""
        size = len(self.field.stream.words)
        for back, word in enumerate(self.field.behind, start=1):
            there = mask & (word >= 0)
            told = np.bincount(word[there & self.left], minlength=size)
            every = np.bincount(word[there], minlength=size)
            yield from (((back, at), int(told[at]), int(every[at])) for at in np.flatnonzero(told >= FEWEST).tolist())

    def _words_before(self, mask: Flags) -> Iterator[tuple[Element, int, int]]:
        """The same for words anywhere in the last two sentences, of those that are likeliest to tell."""
        size = len(self.field.stream.words)
        here = mask[np.flatnonzero(self.left)]
        told = np.bincount(self.words[here[self.numbers]], minlength=size)
        often = np.bincount(self.field.stream.word[self.field.stream.whole], minlength=size)
        tells = told * np.log(np.maximum(told, 1) / np.maximum(often, 1) * self.total / max(1, self.count))
        for word in np.argsort(-tells, kind="stable")[:WORDS].tolist():
            if told[word] >= FEWEST:
                yield (0, word), int(told[word]), int((mask & self.field.lately(word)).sum())

    def _gain(self, told: np.ndarray, every: np.ndarray) -> Float[np.ndarray, " _element"]:
        """The likelihood gained on telling the places where something holds by how many of these are among them."""
        if not len(told):
            return np.zeros(0)
        share, usual = told / every, self.count / self.total
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = told * np.log(share / usual) + np.where(
                every > told, (every - told) * (np.log1p(-share) - np.log1p(-usual)), 0
            )
        result: Float[np.ndarray, " _element"] = np.where(share > usual, gain, 0)
        return result

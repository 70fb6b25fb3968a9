"""What the text ends in: patterns of words and classes, grown word by word where they do not tell yet what comes next.

A pattern is a run of elements, the last one last: words by number, and classes as `-2 - class`. Behind every
pattern that is often enough the likeliest token, the variables that may be copied and those that may be looked up are
proposed; patterns that one of these explains are not made longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float

from pellucid.accounts.find.stream import NONE, FlatRows, Places
from pellucid.accounts.find.variables import Values, Variable
from pellucid.base.work import threads

LEAST = 0.00005
"""The share of places that a pattern has at least, and `FEWEST` places."""
FEWEST = 12
CLEAR = 0.995
"""A pattern that is right this often is not made longer."""
ALIKE = 0.01
"""Of variables that tell as much, up to this share of the places, the first in the list is preferred."""
COPIES, LOOKUPS = 3, 4
"""How many variables are proposed for a pattern, to copy and to look up."""
LINE = 0.9
"""What a line of a table must make right where it is proposed; less than it costs, since patterns share tables."""
_BITS = 21

Pattern = tuple[int, ...]


def slot_element(number: Places) -> Places:
    """The element of a pattern that stands for class `number`; and back."""
    return -2 - number


@dataclass(frozen=True)
class Mode:
    """How patterns of one kind are made: up to `longest` elements; from the `first`-th on classes of `size`."""

    longest: int
    first: int
    size: int = 0


MODES = (Mode(9, 1), Mode(9, 1, 5), Mode(6, 2), Mode(3, 99))


@dataclass
class Candidate:
    """A rule that might be: behind a pattern, the token `token`, a copy of a variable, or what a table has for it."""

    pattern: Pattern
    places: Places = field(repr=False)
    variable: Variable | None = None
    token: int = NONE
    looks_up: bool = False
    right: float = 0.0
    """The tokens that it says as the model does, by the weights of their places."""
    table: int = NONE
    """Which table is looked up in."""


@dataclass
class _Frontier:
    """Places that still have to be explained: the pattern of each, and where its next word to the left ends."""

    places: Places
    node: Places
    at: Places
    patterns: dict[int, Pattern]


def grow(
    stream: FlatRows, values: Values, first: Places, slots: Places, sizes: Sequence[int], mode: Mode
) -> Iterator[Candidate]:
    """Candidates of one kind; `first` are first tokens of words, `slots` the classes of words, `sizes` of classes."""
    usable = slots.copy()
    usable[:-1][(slots[:-1] >= 0) & (np.array([*sizes, 0])[slots[:-1]] < mode.size)] = NONE
    places = np.flatnonzero(stream.asked)
    least = max(FEWEST, int(LEAST * len(places)))
    frontier = _Frontier(places, np.zeros(len(places), np.int64), places, {0: ()})
    for length in range(1, mode.longest + 1):
        frontier = _extended(stream, frontier, usable if length >= mode.first else None, least)
        if not len(frontier.places):
            return
        level = _Level(stream, frontier, values, first)
        yield from level.candidates()
        frontier = level.left()


def _extended(stream: FlatRows, frontier: _Frontier, slots: Places | None, least: int) -> _Frontier:
    """Patterns with one more element on the left."""
    element = stream.at(frontier.at)
    if slots is not None:
        element = np.where(slots[element] >= 0, slot_element(slots[element]), element)
    there = frontier.at >= 0
    lowest, width = int(element.min(initial=0)), len(stream.words) - int(element.min(initial=0))
    keys = frontier.node[there] * width + element[there] - lowest
    places, at = frontier.places[there], frontier.at[there]
    _, group, seen = np.unique(keys, return_inverse=True, return_counts=True)
    kept = seen[group] >= least
    nodes, node = np.unique(keys[kept], return_inverse=True)
    patterns = {
        number: (int(key % width) + lowest, *frontier.patterns[int(key // width)]) for number, key in enumerate(nodes)
    }
    return _Frontier(places[kept], node, at[kept], patterns)


class _Level:
    """The patterns of one length."""

    def __init__(self, stream: FlatRows, frontier: _Frontier, values: Values, first: Places) -> None:
        self.stream, self.frontier, self.values, self.first = stream, frontier, values, first
        self.count = len(frontier.patterns)
        self.own, self.weight = stream.own[frontier.places], stream.weight[frontier.places]
        self.total = np.bincount(frontier.node, self.weight, minlength=self.count)
        self.tokens, self.best = self._constants()
        self.top = self.best.copy()

    def _constants(self) -> tuple[Places, Float[np.ndarray, " _node"]]:
        """The token that is said most behind each pattern, and how often."""
        pairs, pair = np.unique(self.frontier.node * (1 << _BITS) + self.own, return_inverse=True)
        right = np.bincount(pair, self.weight)
        best, tokens = np.zeros(self.count), np.zeros(self.count, np.int64)
        order = np.argsort(right, kind="stable")
        tokens[pairs[order] >> _BITS] = pairs[order] & ((1 << _BITS) - 1)
        np.maximum.at(best, pairs >> _BITS, right)
        return tokens, best

    def candidates(self) -> Iterator[Candidate]:
        """The proposals for every pattern."""
        order = np.argsort(self.frontier.node, kind="stable")
        bounds = np.append(0, np.cumsum(np.bincount(self.frontier.node, minlength=self.count)))
        copies, lookups = self._variables()
        for node in range(self.count):
            pattern = self.frontier.patterns[node]
            places = self.frontier.places[order[bounds[node] : bounds[node + 1]]]
            yield Candidate(pattern, places, token=int(self.tokens[node]), right=self.best[node])
            alike = ALIKE * self.total[node]
            for right, variable in sorted(copies[node], key=lambda found: -(found[0] // alike))[:COPIES]:
                yield Candidate(pattern, places, variable, right=right)
            for _, right, variable in sorted(lookups[node], key=lambda found: -(found[0] // alike))[:LOOKUPS]:
                yield Candidate(pattern, places, variable, looks_up=True, right=right)

    def _variables(self) -> tuple[list[list[tuple[float, Variable]]], list[list[tuple[float, float, Variable]]]]:
        """For each pattern what is worth copying or looking up."""
        copies: list[list[tuple[float, Variable]]] = [[] for _ in range(self.count)]
        lookups: list[list[tuple[float, float, Variable]]] = [[] for _ in range(self.count)]
        unclear = np.flatnonzero(~self._clear()[self.frontier.node])
        if not len(unclear):
            return copies, lookups
        node, own, weight = self.frontier.node[unclear], self.own[unclear], self.weight[unclear]
        half = halves(self.stream)[self.frontier.places[unclear]]
        found = [words[self.frontier.places[unclear]] for words in self.values.values()]
        with threads() as crew:
            tried = crew.calls(partial(self._looked_up, node, word, own, weight, half) for word in found)
        for variable, word, (score, hits) in zip(self.values, found, tried, strict=True):
            said = np.where(word >= 0, self.first[np.maximum(word, 0)], NONE)
            right = np.bincount(node, np.where(said == own, weight, 0), minlength=self.count)
            for at in np.flatnonzero(right > self.best + np.maximum(6, 0.02 * self.total)):
                copies[at].append((float(right[at]), variable))
            self.top = np.maximum(self.top, right)
            worth = score > self.best + np.maximum(6, 0.03 * self.total)
            for at in np.flatnonzero(worth):
                lookups[at].append((float(score[at]), float(hits[at]), variable))
            self.top = np.maximum(self.top, np.where(worth, hits, 0))
        return copies, lookups

    def _looked_up(
        self, node: Places, word: Places, own: Places, weight: Float[np.ndarray, " _place"], half: Places
    ) -> tuple[Float[np.ndarray, " _node"], Float[np.ndarray, " _node"]]:
        """What a table of the commonest tokens by word would have right where it was not made, and where it was.

        It is made of one half of the texts and tried on the other, both ways.
        """
        there = word >= 0
        if not there.any():
            return np.zeros(self.count), np.zeros(self.count)
        node, word, own, weight, half = (given[there] for given in (node, word, own, weight, half))
        keys, key = np.unique(node * (len(self.stream.words) + 1) + word, return_inverse=True)
        pairs, pair = np.unique(key * (1 << _BITS) + own, return_inverse=True)
        of = pairs >> _BITS
        sides = [np.bincount(pair, weight * (half == side), minlength=len(pairs)) for side in (0, 1)]
        node_of = keys // (len(self.stream.words) + 1)
        tried = sum(other[at] * (one[at] > 0) for one, other in (sides, sides[::-1]) for at in (highest(of, one),))
        right = (sides[0] + sides[1])[highest(of, sides[0] + sides[1])]
        return (
            np.bincount(node_of, tried, minlength=self.count) - LINE * np.bincount(node_of, minlength=self.count),
            np.bincount(node_of, right, minlength=self.count),
        )

    def _clear(self) -> np.ndarray:
        return self.top >= CLEAR * self.total

    def left(self) -> _Frontier:
        """What is to be explained by longer patterns."""
        kept = ~self._clear()[self.frontier.node]
        places, node, at = self.frontier.places[kept], self.frontier.node[kept], self.frontier.at[kept]
        return _Frontier(places, node, self.stream.back(at), self.frontier.patterns)


def halves(stream: FlatRows) -> Places:
    """Half of the texts are 0, half of them 1, in turns."""
    texts: Places = np.cumsum(stream.begins == stream.places)
    return texts % 2


def commonest(of: Places, own: Places) -> tuple[Places, Places, Places]:
    """Of groups (`of`, without gaps): how often each stands, what the model says most there (of equal counts the lowest
    id), and how often."""
    pairs, seen = np.unique(of * (1 << _BITS) + own, return_counts=True)
    group, said = pairs >> _BITS, pairs & ((1 << _BITS) - 1)
    best = highest(group, (seen << _BITS) - said)
    return np.bincount(group, seen).astype(np.int64), said[best], seen[best]


def highest(of: Places, counts: Float[np.ndarray, " _pair"] | Places) -> Places:
    """For each group of pairs (`of`, in order and without gaps) the pair with the highest count."""
    order = np.lexsort((counts, of))
    found: Places = order[np.append(np.flatnonzero(np.diff(of[order])), len(order) - 1)]
    return found

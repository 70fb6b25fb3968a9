"""What rules ask of a text beside the pattern that it ends in: variables, and conditions that hold or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.folds import Fold, Sentences, kinds_counted
from pellucid.accounts.find.patterns import Pattern
from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places
from pellucid.accounts.find.variables import Values, Variable, values


@dataclass(frozen=True)
class Guard:
    """A condition. `holds` says which.

    `long` (tokens), `has` and `lately` (a word, in the text and in the `least` sentences that stand last), `counts`
    (sentences of a kind, by the number of what counts them), `same` (two variables are the same), `known` (a variable
    has a value).
    """

    holds: str
    least: int = 0
    word: str = ""
    negated: bool = False
    about: tuple[Variable, ...] = ()

    @property
    def price(self) -> float:
        """Its symbols, about."""
        return {"same": 7.0, "known": 6.0}.get(self.holds, 5.0)

    def other(self) -> Guard:
        """Its negation."""
        return replace(self, negated=not self.negated)


@dataclass(frozen=True)
class Tally:
    """Sentences that have none of some words."""

    without: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """What is known of a subject's text when rules are made: classes, and what variables are about."""

    classes: tuple[WordClass, ...]
    behind: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = ()
    counters: tuple[Tally, ...] = ()


def fold_variable(number: int, of: int) -> Variable:
    """The variable of the `number`-th state."""
    return Variable(f"state_{number}(text)", of)


@dataclass
class Features:
    """All of it for a stream."""

    stream: FlatRows
    known: Vocabulary
    slots: Places
    _flags: dict[Guard, Flags] = field(default_factory=dict)

    @cached_property
    def sentences(self) -> Sentences:
        return Sentences(self.stream, self.slots)

    @cached_property
    def values(self) -> Values:
        """The variables."""
        found = values(self.stream, self.known.classes, self.known.behind)
        for number, fold in enumerate(self.known.folds):
            found[fold_variable(number, fold.of)] = self.sentences.state(fold)
        return found

    def flags(self, guard: Guard) -> Flags:
        """Where a condition holds."""
        if guard.negated:
            return ~self.flags(guard.other())
        if guard not in self._flags:
            self._flags[guard] = self._holding(guard)
        return self._flags[guard]

    def _holding(self, guard: Guard) -> Flags:
        stream = self.stream
        if guard.holds == "long":
            result: Flags = stream.places - stream.begins + 1 >= guard.least
            return result
        if guard.holds == "counts":
            return self.counts[guard.word] >= guard.least
        if guard.holds == "known":
            found: Flags = self.values[guard.about[0]] >= 0
            return found
        if guard.holds == "same":
            same: Flags = self.values[guard.about[0]] == self.values[guard.about[1]]
            return same
        there = (stream.word == stream.words.numbers.get(guard.word, NONE)) & stream.closed
        latest = np.maximum.accumulate(np.where(there, stream.places, NONE))
        return (latest >= 0) & (latest >= (stream.begins if guard.holds == "has" else self._lately(guard.least)))

    def _lately(self, count: int) -> Places:
        """Where the last `count` sentences begin at each place, the one that stands there now among them."""
        stream = self.stream
        found = stream.stretch
        for _ in range(count - 1):
            before = np.maximum(found - 1, 0)
            found = np.where(found > stream.begins, np.maximum(stream.stretch[before], stream.begins), found)
        return found

    @cached_property
    def counts(self) -> dict[str, Places]:
        """How many sentences each counter counts, by its number as text."""
        flags = [self.counted(counter) for counter in self.known.counters]
        return {str(number): found for number, found in enumerate(kinds_counted(self.sentences, flags))}

    def counted(self, counter: Tally) -> Flags:
        """Which of all sentences a counter counts."""
        numbers = [self.stream.words.numbers.get(word, NONE) for word in counter.without]
        starts, ends = self._bounds
        there = np.flatnonzero(np.isin(self.stream.word, numbers) & self.stream.closed)
        at = np.searchsorted(ends, there)
        inside = there[at < len(ends)] >= starts[at[at < len(ends)]]
        found = np.ones(len(ends), dtype=bool)
        found[at[at < len(ends)][inside]] = False
        return found

    @cached_property
    def _bounds(self) -> tuple[Places, Places]:
        """Where the sentences begin and end; they stand in order."""
        pairs = [(sentence.places[0], sentence.end) for sentence in self.sentences.all]
        starts, ends = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return starts, ends

    @cached_property
    def _by_last(self) -> tuple[Places, Places]:
        """The places in the order of their words, and those words."""
        order = np.argsort(self.stream.word, kind="stable")
        return order, self.stream.word[order]

    def matching(self, pattern: Pattern) -> Places:
        """The places at which a text ends in a pattern; all that are asked, of a pattern without elements."""
        if not pattern:
            return np.flatnonzero(self.stream.asked & ~self.stream.ends)
        places = self._ending(pattern[-1])
        at = places
        for element in reversed(pattern[:-1]):
            at = self.stream.back(at)
            word = self.stream.at(at)
            fits = (word == element) if element >= 0 else (self.slots[word] == -2 - element) & (word >= 0)
            places, at = places[fits], at[fits]
        return np.sort(places)

    def _ending(self, element: int) -> Places:
        order, words = self._by_last
        members: Sequence[int] = [element] if element >= 0 else self.known.classes[-2 - element].members
        found = [order[np.searchsorted(words, one) : np.searchsorted(words, one, "right")] for one in members]
        places: Places = np.concatenate(found)
        result: Places = places[~self.stream.last[places]]
        return result

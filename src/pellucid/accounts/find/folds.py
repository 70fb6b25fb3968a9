"""State that is kept up along a text, such as who has a thing: found as the sentences that change it.

The state is a member of a class. Each kind of sentence (its words, with classes in place of their members) that changes
it makes it its first, second, … member of the class; all others leave it. Kinds are added as long as they tell more of
what comes next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pellucid.accounts.find.patterns import Pattern, slot_element
from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places

KINDS = 12
"""Kinds of sentences that change a state, at most."""
SAMPLE = 1500
"""Places that a state is learned from, at most."""
RARE = 0.01
"""The share of places that a kind of sentence stands before, at least."""
LONGEST = 60
"""Words of a sentence that is of a kind."""


@dataclass(frozen=True)
class Sentence:
    """A sentence: the place of its mark, its kind, and the places of its words."""

    end: int
    kind: Pattern
    places: tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """How a state changes: for each kind of sentence which of its members of class `of` the state becomes."""

    of: int
    changes: tuple[tuple[Pattern, int], ...]


class Sentences:
    """The sentences of a stream, by the text that they are of."""

    def __init__(self, stream: FlatRows, slots: Places) -> None:
        self.stream = stream
        self.slot = slot = slots[stream.word]
        elements = np.where(slot >= 0, slot_element(slot), stream.word)
        self.of: dict[int, list[Sentence]] = defaultdict(list)
        now: list[int] = []
        for place in np.flatnonzero(stream.closed | stream.ends).tolist():
            if stream.ends[place] or (now and stream.begins[place] != stream.begins[now[-1]]):
                now = []
            if stream.ends[place]:
                continue
            now.append(place)
            if stream.marks[place]:
                if len(now) <= LONGEST:
                    kind = tuple(elements[now].tolist())
                    self.of[int(stream.begins[place])].append(Sentence(place, kind, tuple(now)))
                now = []

    def members(self, sentence: Sentence, of: int) -> list[int]:
        """The words of a sentence that are of a class."""
        places = np.array(sentence.places)
        return [int(word) for word in self.stream.word[places[self.slot[places] == of]]]

    @cached_property
    def all(self) -> list[Sentence]:
        return [sentence for found in self.of.values() for sentence in found]

    def state(self, fold: Fold) -> Places:
        """The state at every place, `NONE` before it is first set."""
        changes, became = dict(fold.changes), np.full(len(self.stream), NONE)
        for sentence in self.all:
            number = changes.get(sentence.kind)
            if number is not None and number < len(found := self.members(sentence, fold.of)):
                became[sentence.end] = found[number]
        latest = np.maximum.accumulate(np.where(became >= 0, self.stream.places, NONE))
        return np.where(latest >= self.stream.begins, became[np.maximum(latest, 0)], NONE)


@dataclass
class _Case:
    """A place: the sentences before it, the latest first, with their members, and the word that comes next."""

    before: list[tuple[Pattern, list[int]]]
    said: int

    def right(self, changes: dict[Pattern, int]) -> bool:
        """Whether the state is what comes next."""
        for kind, members in self.before:
            if (number := changes.get(kind)) is not None:
                return number < len(members) and members[number] == self.said
        return False


def learned(sentences: Sentences, places: Places, said: Places, of: int, seed: int = 0) -> tuple[Fold, float]:
    """The state of class `of` that tells most of the words `said` behind `places`, and the share that it tells."""
    chosen = np.random.default_rng(seed).permutation(len(places))[:SAMPLE]
    cases = [_case(sentences, int(places[at]), int(said[at]), of) for at in chosen]
    standing: dict[Pattern, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        for kind in {kind for kind, members in case.before if members}:
            standing[kind].append(number)
    kinds = [kind for kind, there in standing.items() if len(there) >= max(3, RARE * len(cases))]
    most = {kind: kind.count(-2 - of) for kind in kinds}
    changes: dict[Pattern, int] = {}
    right = [False] * len(cases)
    for _ in range(KINDS):
        best: tuple[int, tuple[Pattern, int] | None] = (0, None)
        for kind in kinds:
            for number in range(most[kind]) if kind not in changes else ():
                gain = sum(cases[at].right(changes | {kind: number}) - right[at] for at in standing[kind])
                best = max(best, (gain, (kind, number)), key=lambda found: found[0])
        if best[1] is None or best[0] < max(2, 0.002 * len(cases)):
            break
        changes[best[1][0]] = best[1][1]
        for at in standing[best[1][0]]:
            right[at] = cases[at].right(changes)
    return Fold(of, tuple(changes.items())), sum(right) / max(1, len(cases))


def _case(sentences: Sentences, place: int, said: int, of: int) -> _Case:
    before = [s for s in sentences.of.get(int(sentences.stream.begins[place]), ()) if s.end <= place]
    return _Case([(s.kind, sentences.members(s, of)) for s in reversed(before)], said)


def kinds_counted(sentences: Sentences, kinds: Sequence[Flags]) -> list[Places]:
    """How many sentences of each set have ended at every place, within its text; sets are flags over `all`."""
    stream = sentences.stream
    ends = np.array([sentence.end for sentence in sentences.all], dtype=np.int64)
    found = []
    for flags in kinds:
        ended = np.bincount(ends[flags], minlength=len(stream))
        total = np.cumsum(ended)
        found.append(total - np.where(stream.begins > 0, total[np.maximum(stream.begins - 1, 0)], 0))
    return found


def commonest(kinds: Counter[Pattern], most: int) -> list[Pattern]:
    """The commonest kinds of sentences."""
    return [kind for kind, _ in kinds.most_common(most)]

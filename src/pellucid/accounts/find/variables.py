"""Named quantities of a text that rules may copy or look up: members of classes, words at offsets, what followed.

Every variable is both a line in the language of accounts and an array: its word at every place of a stream, as
`language.Text` would find it, `NONE` where there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places

WORDS = 4
"""Words at offsets from the end that are variables."""
AGAIN = 2
_SAME = 6
"""How many members in a row may be the same before another is looked for no further."""
_PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”", "‘": "’", "«": "»", '"': '"'}


@dataclass(frozen=True)
class Variable:
    """A quantity: how the language says it, with `{name}` for the class, and whether it is a member of one."""

    says: str
    of: int | None = None
    """The class whose members it is, by place in the list of classes."""
    word: str = ""
    """The word that it is about, of what stood behind a word."""

    def __str__(self) -> str:
        return self.says


Values = dict[Variable, Places]


class Mentions:
    """Where members of a class stand in a stream, and how to go from one to the next."""

    def __init__(self, stream: FlatRows, group: WordClass) -> None:
        self.stream = stream
        member = group.has(len(stream.words))[stream.word] & ~stream.ends
        self.whole = member & stream.closed
        self.places = np.flatnonzero(self.whole)
        self._latest = np.maximum.accumulate(np.where(self.whole, stream.places, NONE))
        self._here = member

    def before(self, places: Places) -> Places:
        """The last whole mention before the word at each of `places`, within the same text."""
        start = self.stream.unit[np.maximum(places, 0)]
        found = np.where((places >= 0) & (start > 0), self._latest[np.maximum(start - 1, 0)], NONE)
        return np.where(found >= self.stream.begins[np.maximum(places, 0)], found, NONE)

    @cached_property
    def last(self) -> Places:
        """The last mention at each place; a word that stands there so far is one, too."""
        return np.where(self._here, self.stream.places, self.before(self.stream.places))

    def behind(self, starts: Places) -> Places:
        """The first mention that begins at or behind `starts` and has ended at each place."""
        if not len(self.places):
            return np.full(len(self.stream), NONE)
        at = np.searchsorted(self.places, starts)
        found = np.where(at < len(self.places), self.places[np.minimum(at, len(self.places) - 1)], len(self.stream))
        now = self._here & (self.stream.unit <= found) & (starts <= self.stream.unit)
        return np.where(found <= self.stream.places, found, np.where(now, self.stream.places, NONE))

    def another(self, places: Places, step: Callable[[Places], Places]) -> Places:
        """The nearest mention by `step` of another word than the one at `places`."""
        own, found = self.stream.at(places), step(places)
        for _ in range(_SAME):
            same = (found >= 0) & (self.stream.at(found) == own)
            found = np.where(same, step(found), found)
        return np.where((found >= 0) & (self.stream.at(found) != own), found, NONE)


def values(stream: FlatRows, classes: Sequence[WordClass], behind: Sequence[str]) -> Values:
    """All variables with their words in `stream`; `behind` are words behind which others stood."""
    found: Values = {}
    for number, group in enumerate(classes):
        for says, places in _members(stream, group):
            found[Variable(says, number)] = stream.at(places)
    bare = _bare(stream)
    places = stream.places
    for offset in range(1, WORDS + 1):
        found[Variable(f"text.word({offset})")] = np.where(stream.ends, NONE, bare[stream.at(places)])
        places = stream.back(places)
    for same in range(1, AGAIN + 1):
        found[Variable(f"text.again({same})")] = bare[again(stream, same)]
    for word in behind:
        known = stream.words.numbers.get(word)
        said = np.full(len(stream), NONE) if known is None else stood_behind(stream, known)
        found[Variable(f"text.behind({quoted(word)})", word=word)] = bare[said]
    found[Variable("text.opened()")] = opened(stream)
    return found


def quoted(text: str) -> str:
    """A text as a literal of the language, in double quotes where that does."""
    single = repr(text)
    return f'"{single[1:-1]}"' if single[0] == "'" and '"' not in text and "\\" not in single else single


def _bare(stream: FlatRows) -> Places:
    """The numbers of words without blanks around them, by number; of `NONE`, itself."""
    texts = list(stream.words.texts)
    return np.array([stream.words.of(text.strip() or text) for text in texts] + [NONE], dtype=np.int64)


def _members(stream: FlatRows, group: WordClass) -> Iterator[tuple[str, Places]]:
    mentions = Mentions(stream, group)
    here, last = np.maximum(stream.places, 0), mentions.last

    def within(places: Places) -> Places:
        return np.where(places >= stream.sentence[here], places, NONE)

    def next_behind(places: Places) -> Places:
        return np.where(places >= 0, mentions.behind(np.maximum(places, 0) + 1), NONE)

    second, first = mentions.before(last), mentions.behind(stream.begins)
    other = mentions.another(last, mentions.before)
    yield "text.last({name})", last
    yield "text.first({name})", first
    yield "text.other({name})", other
    yield "text.nth({name}, -2)", second
    yield "text.nth({name}, -3)", mentions.before(second)
    yield "text.second({name})", mentions.another(first, next_behind)
    yield "text.sentence().last({name})", within(last)
    yield "text.sentence().first({name})", mentions.behind(stream.sentence)
    yield "text.sentence().nth({name}, -2)", within(second)
    yield "text.sentence().other({name})", within(other)


def again(stream: FlatRows, same: int) -> Places:
    """The word that followed when the last `same` words stood there before, in the same text."""
    keys = stream.word.copy()
    before = stream.places
    for _ in range(same - 1):
        before = stream.back(before)
        keys = np.where((keys >= 0) & (before >= 0), keys * (len(stream.words) + 1) + stream.at(before), NONE)
    found = np.full(len(stream), NONE)
    seen: dict[int, int] = {}
    ends = np.minimum.accumulate(np.where(stream.closed, stream.places, len(stream))[::-1])[::-1]
    listed = zip(keys.tolist(), stream.begins.tolist(), stream.unit.tolist(), stream.closed.tolist(), strict=True)
    for place, (key, begins, unit, closed) in enumerate(listed):
        earlier = seen.get(key, NONE) if key >= 0 else NONE
        if earlier >= begins and ends[earlier + 1] < unit:
            found[place] = stream.word[ends[earlier + 1]]
        if closed and key >= 0:
            seen[key] = place
    return found


def stood_behind(stream: FlatRows, word: int) -> Places:
    """The whole word behind the last place where `word` stands in the text, or behind the one before that."""
    there = (stream.word == word) & stream.whole
    ends = np.minimum.accumulate(np.where(stream.closed, stream.places, len(stream))[::-1])[::-1]
    latest = np.maximum.accumulate(np.where(there, stream.places, NONE))
    earlier = np.append(NONE, latest[:-1])

    def complete(places: Places) -> Flags:
        following = np.minimum(places + 1, len(stream) - 1)
        result: Flags = (places >= stream.begins) & (places >= 0) & (ends[following] < stream.unit)
        return result

    before = np.where(latest > 0, earlier[np.maximum(latest, 0)], NONE)
    chosen = np.where(complete(latest), latest, np.where(complete(before), before, NONE))
    end = np.minimum(ends[np.minimum(chosen + 1, len(stream) - 1)], len(stream) - 1)
    return np.where(chosen >= 0, stream.word[end], NONE)


def opened(stream: FlatRows) -> Places:
    """The last mark that was opened and not closed."""
    found = np.full(len(stream), NONE)
    marks = {number: text.strip() for number, text in enumerate(stream.words.texts) if text.strip() in _CLOSING}
    open_: list[str] = []
    for place in np.flatnonzero(
        np.isin(stream.word, list(marks)) | stream.ends | (stream.begins == stream.places)
    ).tolist():
        if stream.ends[place] or stream.begins[place] == place:
            open_ = []
        mark = marks.get(int(stream.word[place]), "") if not stream.ends[place] else ""
        if open_ and mark == _PAIRS[open_[-1]]:
            open_.pop()
        elif mark in _PAIRS:
            open_.append(mark)
        found[place] = stream.words.of(open_[-1]) if open_ else -2
    latest = np.maximum.accumulate(np.where(found != NONE, stream.places, NONE))
    return np.where(latest >= 0, np.maximum(found[np.maximum(latest, 0)], NONE), NONE)


_CLOSING = {*_PAIRS, *_PAIRS.values()}


def telling(
    stream: FlatRows, first: Places, groups: Places, best: Places, most: int = 8, tried: int = 150
) -> list[str]:
    """The words such that what stood behind the last of them comes next, in groups of places where little else tells.

    `first` are the first tokens of words, `groups` the group of every place (`NONE` for places that count for nothing),
    `best` the number of places of each group that are told already.
    """
    places = np.flatnonzero(groups >= 0)
    often = Counter(stream.word[stream.whole].tolist()).most_common(tried)
    found: list[tuple[float, str, Places]] = []
    for word, _ in often:
        said = stood_behind(stream, word)[places]
        right = (said >= 0) & (first[np.maximum(said, 0)] == stream.own[places])
        found.append((0.0, stream.words.texts[word], np.bincount(groups[places][right], minlength=len(best))))
    told, chosen = best.copy(), list[str]()
    while found and len(chosen) < most:
        gains = [float(np.maximum(hits - told, 0).sum()) for _, _, hits in found]
        at = int(np.argmax(gains))
        if gains[at] < 0.0005 * len(places):
            break
        _, word, hits = found.pop(at)
        told = np.maximum(told, hits)
        chosen.append(word)
    return chosen

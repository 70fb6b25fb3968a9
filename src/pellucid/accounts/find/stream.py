"""Text as finders of accounts see it: tokens in a row, the word that each is of, and what the model says behind each.

Everything is an array over the places of all rows, one row after the other. A word is what it is in the language of
accounts (`language.AccountText`); at a place within a word, its word is what stands there so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.accounts.language import Spelling

NONE = -1
"""In the place of a word, a place or a token where there is none."""
_MARKS = ".?!\n"

Places = Int[np.ndarray, " _place"]
Flags = Bool[np.ndarray, " _place"]


@dataclass
class Words:
    """The words of texts, by number. Words of letters stand without the blank before them, marks as they are."""

    spelling: Spelling
    texts: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, text: str) -> int:
        """The number of a word, which is kept if it is new."""
        bare = text.strip()
        text = bare if bare[:1].isalnum() else text
        if text not in self.numbers:
            if bare and bare != text:
                self.of(bare)
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def __len__(self) -> int:
        return len(self.texts)

    def said(self, number: int) -> list[int]:
        """The tokens of a word as an account says it, none where the model cannot."""
        text = self.texts[number]
        try:
            gap = " " if self.spelling.spaced and text[:1].isalnum() else ""
            return self.spelling.encode(gap + text)
        except Exception:
            return []

    def first(self) -> Int[np.ndarray, " _word"]:
        """The first token of every word as it is said, `NONE` where the model cannot."""
        known = self.__dict__.setdefault("_first", [])
        known += [next(iter(self.said(number)), NONE) for number in range(len(known), len(self))]
        return np.array(known, dtype=np.int64)


@dataclass(frozen=True)
class FlatRows:
    """Rows of tokens, flat."""

    words: Words
    ids: Places
    own: Places
    """What the model says behind each place."""
    begins: Places
    """Where the text of a place begins."""
    unit: Places
    """Where its word begins."""
    word: Places
    """Its word so far."""
    closed: Flags
    """Whether the next token begins another word."""
    ends: Flags
    """Whether it is a token at which texts end."""
    last: Flags
    """Whether it is the last of its row, with nothing behind it."""

    @staticmethod
    def of(ids: Int[np.ndarray, "row pos"], own: Int[np.ndarray, "row pos"], words: Words) -> FlatRows:
        """The stream of rows `ids`, behind whose tokens the model says `own`."""
        flat, place = ids.ravel().astype(np.int64), np.arange(ids.size)
        starts = place % ids.shape[1] == 0
        spelling = words.spelling
        ends = np.isin(flat, list(spelling.ends))
        grows = _grows(flat, spelling) & ~starts & ~ends & ~np.roll(ends, 1)
        text = np.where(ends, place + 1, np.where(starts, place, NONE))
        closed = np.append(~grows[1:], True)
        return FlatRows(
            words,
            flat,
            own.ravel().astype(np.int64),
            np.maximum.accumulate(text),
            np.maximum.accumulate(np.where(grows, NONE, place)),
            _words(flat, grows, words),
            closed,
            ends,
            np.roll(starts, -1),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def places(self) -> Places:
        return np.arange(len(self))

    @cached_property
    def whole(self) -> Flags:
        """Where a word ends; ends of texts are none."""
        result: Flags = self.closed & ~self.ends
        return result

    @cached_property
    def asked(self) -> Flags:
        """Where another word begins next, of which something is known."""
        result: Flags = self.closed & ~self.last
        return result

    @cached_property
    def marks(self) -> Flags:
        """Where a sentence ends."""
        ending = np.array([text.strip(" ")[-1:] in _MARKS or "\n" in text for text in self.words.texts] or [False])
        found: Flags = ending[self.word] & self.whole
        return found

    @cached_property
    def sentence(self) -> Places:
        """Where the sentence of a place begins: behind the last mark, which may be the place itself."""
        found: Places = np.maximum.accumulate(np.where(self.marks, self.places + 1, NONE))
        result: Places = np.maximum(found, self.begins)
        return result

    @cached_property
    def stretch(self) -> Places:
        """The same, but of a mark where the sentence that it ends begins."""
        before = np.maximum(np.append(0, self.sentence[:-1]), self.begins)
        return np.where(self.marks, before, self.sentence)

    @cached_property
    def following(self) -> Places:
        """The whole word that comes next in the text, `NONE` at the end of a row."""
        to = np.minimum.accumulate(np.where(self.closed, self.places, len(self))[::-1])[::-1]
        return np.where(self.last, NONE, self.word[np.append(to[1:], NONE)])

    @cached_property
    def rest(self) -> Int[np.ndarray, " _place"]:
        """How many tokens of that word, behind its first one, the model says as the text has them."""
        said = np.append(self.own[:-1] == self.ids[1:], False)
        total = np.append(0, np.cumsum(said))
        to = np.minimum.accumulate(np.where(self.closed, self.places, len(self) - 1)[::-1])[::-1]
        following = np.minimum(self.places + 1, len(self) - 1)
        return np.where(self.last, 0, total[to[following]] - total[following])

    @cached_property
    def agrees(self) -> Flags:
        """Whether the model begins the word that the text goes on with."""
        result: Flags = (self.following >= 0) & (np.append(self.ids[1:], NONE) == self.own)
        return result

    @cached_property
    def weight(self) -> Float[np.ndarray, " _place"]:
        """How many tokens are right where a place is: one, and the others of the word that comes next."""
        return 1.0 + np.where(self.agrees, self.rest, 0)

    def back(self, places: Places) -> Places:
        """The ends of the words before those at `places`, `NONE` at the beginning of a text."""
        before = self.unit[np.maximum(places, 0)] - 1
        return np.where((places >= 0) & (before >= self.begins[np.maximum(places, 0)]), before, NONE)

    def at(self, places: Places) -> Places:
        """The words at `places`, `NONE` where there is no place."""
        return np.where(places >= 0, self.word[np.maximum(places, 0)], NONE)


def _grows(flat: Places, spelling: Spelling) -> Flags:
    """Whether each token goes on with the word of the one before."""
    if not spelling.grows:
        return np.zeros(len(flat), bool)
    opens = np.array([piece[:1].isalnum() for piece in spelling.pieces])
    carries = np.array([piece[-1:].isalnum() or piece == " " for piece in spelling.pieces])
    result: Flags = opens[flat] & np.roll(carries[flat], 1)
    return result


def _words(flat: Places, grows: Flags, words: Words) -> Places:
    found = np.empty(len(flat), dtype=np.int64)
    pieces, text = words.spelling.pieces, ""
    for place, (token, goes_on) in enumerate(zip(flat.tolist(), grows.tolist(), strict=True)):
        text = text + pieces[token] if goes_on else pieces[token]
        found[place] = words.of(text)
    return found

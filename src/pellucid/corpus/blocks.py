"""Blocks: the indivisible stretches of about 2,000 words that are dealt to the fit, check, tune and held-out splits.

A long document is cut every 2,000 words and the 100 words after each cut belong to no block, so that no split sees the
other side of a cut. Short documents are grouped whole. The deal hashes a block's domain and the text of its first
piece: it depends on nothing else, so text that is added later moves no block.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Literal, get_args

from pellucid.corpus.reading import Document

Fold = Literal["fit", "check", "tune", "heldout"]
FOLDS: frozenset[Fold] = frozenset(get_args(Fold))
"""All of them."""
_UPTO: tuple[tuple[float, Fold], ...] = ((0.6, "fit"), (0.7, "check"), (0.8, "tune"), (1.0, "heldout"))
"""Up to which ticket a block is dealt where."""


@dataclass(frozen=True)
class CutSettings:
    """How text is cut: words in a block and words dropped at a cut inside a document.

    Where text has no spaces between words, the `unit` that is counted as a word is a character that is no white space.
    """

    words: int = 2000
    gap: int = 100
    unit: Literal["words", "characters"] = "words"

    @property
    def tokens(self) -> int:
        """How many tokens a block has, if not more."""
        return self.words if self.unit == "words" else self.words // 4

    def count(self, text: str) -> int:
        """How many units `text` has."""
        words = text.split()
        return len(words) if self.unit == "words" else sum(map(len, words))


@dataclass(frozen=True)
class Piece:
    """A stretch of one document; `start` says whether the document begins with it."""

    document: str
    start: bool
    text: str
    words: int


@dataclass(frozen=True)
class TextBlock:
    """Pieces of one domain that always stay together; `opens` says whether they are its first.

    `name` is unique in its corpus.
    """

    domain: str
    name: str
    pieces: tuple[Piece, ...]
    opens: bool = False

    @property
    def words(self) -> int:
        """Words in the block, as white space separates them, or what was counted as such."""
        return sum(piece.words for piece in self.pieces)

    @cached_property
    def fold(self) -> Fold:
        """The split that the block is dealt to: 60 % fit, 10 % check, 10 % tune, 20 % held-out."""
        ticket = fraction(self.domain, self.pieces[0].text)
        return next(fold for upto, fold in _UPTO if ticket < upto)


def fraction(*keys: object) -> float:
    """A number in [0, 1) that depends on nothing but the texts of `keys`."""
    digest = hashlib.sha256("\0".join(str(key) for key in keys).encode("utf-8")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def cut_blocks(documents: Iterable[Document], cut: CutSettings) -> Iterator[TextBlock]:
    """The blocks of `documents`, in order; those of one domain must follow one another."""
    group: list[Piece] = []
    domain, first, held, opens = "", 0, 0, True
    for document in documents:
        for piece in _pieces(document, cut):
            if group and (held + piece.words > cut.words + cut.gap or document.domain != domain):
                yield TextBlock(domain, f"{domain}/{first}", tuple(group), opens)
                first, opens = first + 1, document.domain != domain
                group, held = [], 0
            domain = document.domain
            group.append(piece)
            held += piece.words
    if group:
        yield TextBlock(domain, f"{domain}/{first}", tuple(group), opens)


def _pieces(document: Document, cut: CutSettings) -> Iterator[Piece]:
    """Cut a document after every `cut.words` words and drop `cut.gap` more, unless nothing would be left then.

    A cut depends on the text before it alone, so it may be looked for late: only where text has doubled since it was
    not found. However long the words are, the time taken grows with the text, not with its square.
    """
    buffer, start = "", True
    waiting: list[str] = []
    size = wanted = 0
    for fragment in chain(document.fragments, (None,)):
        if fragment is not None:
            waiting.append(fragment)
            size += len(fragment)
            if size < wanted:
                continue
        buffer, waiting = "".join([buffer, *waiting]), []
        while (ends := _word_ends(buffer, cut)) is not None:
            yield Piece(document.name, start, buffer[: ends[0]], cut.words)
            buffer, start = buffer[ends[1] :], False
        size = len(buffer)
        wanted = 2 * size
    if words := cut.count(buffer):
        yield Piece(document.name, start, buffer, words)


def _word_ends(text: str, cut: CutSettings) -> tuple[int, int] | None:
    """Where the block ends and where the gap after it ends, or None if no further word has begun by then."""
    found = _pattern(cut).match(text)
    return (found.end(1), found.end(2)) if found else None


@cache
def _pattern(cut: CutSettings) -> re.Pattern[str]:
    """A block, its gap and the beginning of one more word; possessive, so that it never splits a word or retries."""
    one, between = (r"\S++", r"\s++") if cut.unit == "words" else (r"\S", r"\s*+")
    word = rf"(?:\s*+{one})"
    return re.compile(rf"({word}{{{cut.words}}}+)({word}{{{cut.gap}}}+){between}\S")

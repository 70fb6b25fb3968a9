"""How much of the text that is measured on also stands in the text that sources are fitted on, by content alone.

Text is compared in windows of 50 characters, white space being one space and case ignored, so that neither names nor
places of files, nor order or what else stands in them matter, nor whether words are separated. Windows are hashed, and
a sample of the hashes, chosen by their own value and therefore alike on both sides, is kept: memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Int64, UInt64

from pellucid.corpus.blocks import TextBlock
from pellucid.corpus.reading import Document

WINDOW = 50
STRETCH = 1000
"""Characters of measured text that are judged together."""
COPIED, ALIKE = 0.9, 0.3
"""Shares of a stretch's windows in the other text, from which on it is a copy, or a near-duplicate."""
LEAST = 8
"""Windows that a stretch needs to be judged by."""
MOST = 1 << 20
"""Hashes that are kept."""
SHOWN = 3
_BASE, _MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9  # odd numbers without pattern
_AT_ONCE = 1 << 16
_FIRST_LIMIT = 1 << 60  # one window in sixteen


@dataclass(frozen=True)
class Overlap:
    """Of `stretches` of measured text those that also stand in the text to fit on, and those that nearly do.

    `copied` and `alike` hold the names of the documents that the stretches are from, one for each stretch.
    """

    stretches: int
    copied: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    def said(self, names: tuple[str, ...]) -> str:
        """How many, and the first of their documents."""
        documents = list(dict.fromkeys(names))
        more = f" and {len(documents) - SHOWN:,} more" if len(documents) > SHOWN else ""
        return f"{len(names):,} of {self.stretches:,} stretches ({', '.join(documents[:SHOWN])}{more})"


class _Sample:
    """Hashes of measured windows, the stretch that each belongs to, and which of them were met again."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.limit = _FIRST_LIMIT
        self._hashes: list[UInt64[np.ndarray, " window"]] = []
        self._stretches: list[Int64[np.ndarray, " window"]] = []
        self._held = 0

    def add(self, block: TextBlock) -> None:
        """Take in a block of measured text."""
        texts = [normal(piece.text) for piece in block.pieces]
        starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
        text = " ".join(texts)
        count = max(1, len(text) // STRETCH)
        owners = np.searchsorted(starts, np.arange(count) * STRETCH, side="right") - 1
        hashes = window_hashes(text)
        kept = np.flatnonzero(hashes < self.limit)
        self._hashes.append(hashes[kept])
        self._stretches.append(len(self.names) + np.minimum(kept // STRETCH, count - 1))
        self.names += [block.pieces[at].document for at in owners.tolist()]
        self._held += len(kept)
        while self._held > MOST:
            self._thin()

    def _thin(self) -> None:
        """Keep half of the hashes."""
        self.limit //= 2
        chosen = [hashes < self.limit for hashes in self._hashes]
        self._hashes = [hashes[kept] for hashes, kept in zip(self._hashes, chosen, strict=True)]
        self._stretches = [own[kept] for own, kept in zip(self._stretches, chosen, strict=True)]
        self._held = sum(map(len, self._hashes))

    def met(self, others: Iterable[UInt64[np.ndarray, " window"]]) -> Overlap:
        """What becomes of the stretches, `others` being the hashes of the text to fit on."""
        if not self.names:
            return Overlap(0)
        hashes, stretches = np.concatenate(self._hashes), np.concatenate(self._stretches)
        known, at = np.unique(hashes, return_inverse=True)
        seen = np.zeros(len(known), bool)
        for found in others:
            wanted = found[found < self.limit]
            places = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
            seen[places[known[places] == wanted] if len(known) else places] = True
        total = np.bincount(stretches, minlength=len(self.names))
        again = np.bincount(stretches, weights=seen[at], minlength=len(self.names))
        share = np.where(total >= LEAST, again / np.maximum(total, 1), 0.0)
        copied, alike = share >= COPIED, (share >= ALIKE) & (share < COPIED)
        named = [tuple(self.names[n] for n in np.flatnonzero(which).tolist()) for which in (copied, alike)]
        return Overlap(len(self.names), *named)


def overlap(measured: Iterable[TextBlock], fitted: Iterable[Document]) -> Overlap:
    """Which stretches of `measured` text also stand in the `fitted` documents."""
    sample = _Sample()
    for block in measured:
        sample.add(block)
    return sample.met(hashes for chunk in _chunks(fitted) for hashes in [window_hashes(chunk)])


def _chunks(documents: Iterable[Document]) -> Iterator[str]:
    """All text of `documents`, a space between them, in pieces that share what a window needs to lie across them."""
    before = ""
    for document in documents:
        opening = " "
        for fragment in document.fragments:
            chunk = before + opening + normal(fragment)
            yield chunk
            before, opening = chunk[-(WINDOW - 1) :], ""


def normal(text: str) -> str:
    """`text` in lower case with one space for white space, also at its beginning if it begins so."""
    return f"{' ' if text[:1].isspace() else ''}{' '.join(text.lower().split())}"


def window_hashes(text: str) -> UInt64[np.ndarray, " window"]:
    """A hash for every window of `text`, by its first character; none where it is shorter than one."""
    parts = [_hashes(text[at : at + _AT_ONCE]) for at in range(0, len(text) - WINDOW + 1, _AT_ONCE - WINDOW + 1)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _hashes(text: str) -> UInt64[np.ndarray, " window"]:
    """The same for at most `_AT_ONCE` characters."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    up, down = _powers()
    sums = np.cumsum(codes * up[: len(codes)])  # modulo 2**64, where differences of sums stay exact
    sums[WINDOW:] -= sums[:-WINDOW].copy()
    hashes = sums[WINDOW - 1 :] * down[: len(codes) - WINDOW + 1]
    hashes ^= hashes >> np.uint64(31)
    hashes *= np.uint64(_MIX)
    hashes ^= hashes >> np.uint64(29)
    return np.asarray(hashes, np.uint64)


@cache
def _powers() -> tuple[UInt64[np.ndarray, " count"], UInt64[np.ndarray, " count"]]:
    """The first powers of the base of hashes, and of its inverse, modulo 2**64."""
    inverse = pow(_BASE, -1, 1 << 64)
    up, down = (np.full(_AT_ONCE, base, np.uint64) for base in (_BASE, inverse))
    up[0] = down[0] = 1
    return np.cumprod(up), np.cumprod(down)

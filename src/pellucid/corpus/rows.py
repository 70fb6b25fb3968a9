"""Rows: tokenised stretches of text of at most a context's length, and seeded samples of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop
from math import ceil

import numpy as np
from jaxtyping import Int32, Int64

from pellucid.base.errors import CorpusError
from pellucid.corpus.blocks import TextBlock, fraction
from pellucid.corpus.corpus import Split
from pellucid.corpus.encoded import encoded
from pellucid.exact.predictor import TextCodec

LEAST = 2
"""A shorter row predicts nothing that could be checked."""


@dataclass(frozen=True, eq=False)
class Row:
    """Consecutive tokens of one document, and where they come from."""

    domain: str
    document: str
    block: str
    tokens: Int32[np.ndarray, " pos"]

    def __len__(self) -> int:
        return len(self.tokens)


def windows(blocks: Iterable[TextBlock], tokenizer: TextCodec, length: int) -> Iterator[Row]:
    """Cut blocks into consecutive rows of at most `length` tokens, none of which spans two documents.

    A row at the start of a document begins with what a document begins with, if the tokenizer has that.
    """
    for block in blocks:
        for piece in block.pieces:
            opening = list(tokenizer.start) if piece.start else []
            tokens = np.array(opening + encoded(tokenizer, piece.text), np.int32)
            for begin in range(0, len(tokens), length):
                if len(row := tokens[begin : begin + length]) >= LEAST:
                    yield Row(block.domain, piece.document, block.name, row)


def sample_rows(split: Split, tokenizer: TextCodec, length: int, count: int, seed: int = 0) -> list[Row]:
    """About `count` rows spread over the whole split, domains alike as far as they have text, in random order.

    Reads the split once and keeps a bounded number of blocks; which ones depends on their text and `seed` alone.
    Raises `CorpusError` if the text is shorter than one context of `length` tokens.
    """
    share = ceil(count / len(split.domains))
    most = max(64, ceil(2 * share * length / split.cut.tokens))
    found: dict[str, list[tuple[float, int, Row]]] = defaultdict(list)
    for rank, block in enumerate(_sample_blocks(split, most, seed)):
        for at, row in enumerate(windows((block,), tokenizer, length)):
            found[row.domain].append((fraction(seed, block.pieces[0].text, at), rank, row))
    tokens = sum(len(row) for rows in found.values() for _, _, row in rows)
    if tokens < length:
        raise CorpusError(
            f"the text to measure or fit on ({split.corpus.origin}) has {tokens:,} tokens, "
            f"fewer than one context of {length:,}; give a longer one"
        )
    quota = _shares({domain: len(rows) for domain, rows in found.items()}, count)
    chosen = [entry for domain, rows in found.items() for entry in sorted(rows, key=_by_ticket)[: quota[domain]]]
    return [row for _, _, row in sorted(chosen, key=_by_ticket)]


def _by_ticket(entry: tuple[float, int, Row]) -> tuple[float, int]:
    return entry[:2]


def _sample_blocks(split: Split, most: int, seed: int) -> list[TextBlock]:
    """At most `most` blocks of each domain: those with the smallest hashes of text and seed."""
    kept: dict[str, list[tuple[float, int, TextBlock]]] = defaultdict(list)
    for ordinal, block in enumerate(split.blocks()):
        heap = kept[block.domain]
        entry = (-fraction(seed, block.domain, block.pieces[0].text), ordinal, block)
        if len(heap) < most:
            heappush(heap, entry)
        else:
            heappushpop(heap, entry)
    return [block for heap in kept.values() for _, _, block in sorted(heap, key=lambda entry: entry[1])]


def _shares(available: dict[str, int], count: int) -> dict[str, int]:
    """Deal `count` among the keys as evenly as what each has allows."""
    shares: dict[str, int] = {}
    for left, key in zip(range(len(available), 0, -1), sorted(available, key=available.__getitem__), strict=True):
        shares[key] = min(available[key], ceil((count - sum(shares.values())) / left))
    return shares


def padded(rows: Sequence[Row]) -> Int64[np.ndarray, "batch pos"]:
    """The tokens of `rows` as one array, short rows padded behind their end, where no prediction counts."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row.tokens
    return ids

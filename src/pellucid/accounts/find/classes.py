"""Classes of words that stand in the same surroundings, such as names or days: found from text alone.

A word is the words before and behind it, weighted by positive mutual information (Church and Hanks, 1990); classes are
clusters of them (average linkage of cosines). Only what the model goes on from alike, whichever member it is, makes a
class that stands for its members in patterns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage

from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places

OFTEN = 20
"""How often a word is seen that gets into a class."""
MOST = 2500
"""Words that are compared, the commonest."""
APART = 0.6
"""The cosine distance up to which words are put together."""
FEW = 3
"""Members that a class has at least."""
STRAY = 0.5
"""A member whose next words differ from those of its class by more (total variation) is left out of a slot."""
TELLS = 0.12
"""How much better the next word is known from the member than from the class, at most, where it is a slot."""
_SIDES = ((1, "before"), (1, "behind"), (2, "before"), (2, "behind"))


@dataclass(frozen=True)
class WordClass:
    """Words by number, the commonest first; `slot` if it may stand for its members in patterns."""

    members: tuple[int, ...]
    slot: bool

    def has(self, count: int) -> Flags:
        """Which of `count` words are members."""
        found = np.zeros(count + 1, dtype=bool)
        found[list(self.members)] = True
        return found


def classes(stream: FlatRows) -> list[WordClass]:
    """The classes of the words of `stream`, the commonest first: slots, and others whose members nobody else has."""
    counts = np.bincount(stream.word[stream.whole], minlength=len(stream.words))
    often = np.flatnonzero(counts >= OFTEN)
    often = often[np.argsort(-counts[often], kind="stable")][:MOST]
    often = often[[stream.words.texts[number][:1].isalnum() for number in often]]
    if len(often) < FEW:
        return []
    labels = fcluster(linkage(_surroundings(stream, often), "average", metric="cosine"), APART, "distance")
    groups = [often[labels == label] for label in np.unique(labels)]
    found = []
    for group in sorted((group for group in groups if len(group) >= FEW), key=lambda group: -counts[group].sum()):
        kept = _alike(stream, group)
        slot = len(kept) >= FEW and _tells(stream, kept) <= TELLS
        found.append(WordClass(tuple(map(int, kept if slot else group)), slot))
    return found


def slots_of(found: list[WordClass], count: int) -> Places:
    """For each of `count` words the class that stands for it in patterns, by its number; `NONE` elsewhere."""
    slots = np.full(count + 1, NONE, dtype=np.int64)
    for number, group in enumerate(found):
        if group.slot:
            slots[list(group.members)] = number
    return slots


def _surroundings(stream: FlatRows, often: Places) -> Float[np.ndarray, "word context"]:
    ends = np.flatnonzero(stream.whole)
    number = np.full(len(stream.words), NONE)
    number[often] = np.arange(len(often))
    sides = []
    for distance, side in _SIDES:
        one, other = (ends[distance:], ends[:-distance]) if side == "before" else (ends[:-distance], ends[distance:])
        there = (stream.begins[one] == stream.begins[other]) & (number[stream.word[one]] >= 0)
        rows, columns = number[stream.word[one[there]]], stream.word[other[there]]
        sides.append(_information(rows, columns, len(often), len(stream.words)))
    vectors = np.concatenate(sides, axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    return vectors


def _information(rows: Places, columns: Places, count: int, width: int) -> Float[np.ndarray, "word context"]:
    """Positive mutual information of rows and columns that were seen together; columns never seen are left out."""
    seen = sparse.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(count, width)).tocsc()
    often = np.argsort(-np.asarray(seen.sum(0)).ravel(), kind="stable")[:MOST]
    table = seen[:, np.sort(often)].toarray()
    expected = table.sum(1, keepdims=True) @ table.sum(0, keepdims=True) / max(1.0, table.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(table / expected)
    return np.maximum(np.where(np.isfinite(information), information, 0), 0).astype(np.float32)


def _alike(stream: FlatRows, group: Places) -> Places:
    """The members behind which the model says about the same as behind all of them."""
    there = np.flatnonzero(stream.whole & np.isin(stream.word, group))
    tokens, said = np.unique(stream.own[there], return_inverse=True)
    every = np.bincount(said, minlength=len(tokens)) / len(there)
    kept = []
    for member in group:
        mine = said[stream.word[there] == member]
        own = np.bincount(mine, minlength=len(tokens)) / len(mine)
        if np.abs(own - every).sum() / 2 < STRAY:
            kept.append(member)
    return np.array(kept, dtype=np.int64)


def _tells(stream: FlatRows, group: Places) -> float:
    """How much oftener the next token is right by the member's commonest one than by that of the class."""
    there = np.flatnonzero(stream.whole & np.isin(stream.word, group))
    pairs, counts = np.unique(np.stack([stream.word[there], stream.own[there]]), axis=1, return_counts=True)
    best = np.zeros(len(stream.words))
    np.maximum.at(best, pairs[0], counts)
    return float(best.sum() - np.bincount(stream.own[there]).max()) / len(there)

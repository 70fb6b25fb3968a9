"""What needs no understanding: tables of the model's likeliest next token behind the last one, two or three tokens.

Two uses. A position is *hard* where no such table is certain: where none of the n-grams of up to three tokens that end
there was seen often enough with one and the same answer on fit text. And a text's *back-off* says the commonest answer
of the longest n-gram that was seen at all, which is what an account program says where no account speaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

LONGEST = 3
"""Tokens of an n-gram."""
SEEN = 20
SURE = 0.98
"""An n-gram is certain where it was seen so often, and this share of its answers are one token."""


@dataclass(frozen=True)
class Answers:
    """The commonest answer behind each n-gram of one length: sorted keys, answers, and which of them are certain."""

    keys: Int[Tensor, " gram"]
    answer: Int[Tensor, " gram"]
    certain: Bool[Tensor, " gram"]

    @staticmethod
    def of(keys: Int[Tensor, " place"], said: Int[Tensor, " place"], vocab: int) -> Answers:
        """Count the answers `said` behind the n-grams `keys`, one a place; of equal counts the lower id wins."""
        pairs, counts = torch.unique(torch.stack([keys, said]), dim=1, return_counts=True)
        grams, of_gram = torch.unique(pairs[0], return_inverse=True)
        total = torch.zeros(len(grams), dtype=torch.long).index_add_(0, of_gram, counts)
        best = torch.zeros(len(grams), dtype=torch.long)
        best.scatter_reduce_(0, of_gram, counts * vocab + (vocab - 1 - pairs[1]), "amax")
        most, answer = best // vocab, vocab - 1 - best % vocab
        return Answers(grams, answer, (total >= SEEN) & (most >= SURE * total))

    def find(self, keys: Int[Tensor, "*place"]) -> tuple[Bool[Tensor, "*place"], Int[Tensor, "*place"]]:
        """Whether each of `keys` is in the table, and its number there."""
        if not len(self.keys):
            return torch.zeros_like(keys, dtype=torch.bool), torch.zeros_like(keys)
        at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return self.keys[at] == keys, at


@dataclass(frozen=True)
class NGrams:
    """Tables for n-grams of 1, 2 and 3 tokens, of what a model says on fit text."""

    tables: tuple[Answers, ...]
    tokens: Int[Tensor, " token"]
    """Those of the fit text, by id: n-grams are numbers in this base."""
    commonest: int
    """The answer where nothing is known."""

    @staticmethod
    def of(ids: Int[Tensor, "row pos"], said: Int[Tensor, "row pos"], vocab: int) -> NGrams:
        """Count what a model says (`said`, its likeliest next tokens) behind every place of `ids`.

        Raises `ValueError` for no text, and for one of more different tokens than n-grams have numbers of 63 bits.
        """
        if not ids.numel():
            raise ValueError("n-grams are counted on at least one token")
        tokens = torch.unique(ids)
        if len(tokens) ** LONGEST >= 1 << 62:
            raise ValueError(f"{len(tokens):,} different tokens are too many for n-grams of {LONGEST}")
        tables = []
        for length in range(1, LONGEST + 1):
            keys, there = _keys(ids, length, tokens)
            tables.append(Answers.of(keys[there], said[there], vocab))
        return NGrams(tuple(tables), tokens, int(said.flatten().bincount(minlength=vocab).argmax()))

    def certain(self, ids: Int[Tensor, "row pos"]) -> Int[Tensor, "row pos"]:
        """The certain answer of the longest n-gram that has one at each place, -1 where none has: a hard position."""
        found = torch.full_like(ids, -1)
        for known, answer, sure in self._looked_up(ids):
            found = torch.where(known & sure, answer, found)
        return found

    def back_off(self, ids: Int[Tensor, "row pos"]) -> Int[Tensor, "row pos"]:
        """The commonest answer behind the longest n-gram that was seen, at each place."""
        found = torch.full_like(ids, self.commonest)
        for known, answer, _ in self._looked_up(ids):
            found = torch.where(known, answer, found)
        return found

    def _looked_up(
        self, ids: Int[Tensor, "row pos"]
    ) -> Iterator[tuple[Bool[Tensor, "row pos"], Int[Tensor, "row pos"], Bool[Tensor, "row pos"]]]:
        """From the shortest n-grams on: whether each place has one in the table, its answer, if that is certain."""
        for length, table in enumerate(self.tables, start=1):
            keys, there = _keys(ids, length, self.tokens)
            known, at = table.find(keys)
            none = torch.zeros_like(keys)
            answer, sure = (table.answer[at], table.certain[at]) if len(table.keys) else (none, none.bool())
            yield known & there, answer, sure


def _keys(
    ids: Int[Tensor, "row pos"], length: int, tokens: Int[Tensor, " token"]
) -> tuple[Int[Tensor, "row pos"], Bool[Tensor, "row pos"]]:
    """A number for the last `length` tokens at every place, and whether there are so many, all among `tokens`."""
    digit = torch.searchsorted(tokens, ids).clamp(max=len(tokens) - 1)
    known = tokens[digit] == ids
    keys, there = torch.zeros_like(ids), torch.zeros_like(known)
    there[:, length - 1 :] = True
    for back in range(length):
        width = max(0, ids.shape[1] - back)
        keys[:, back:] += digit[:, :width] * len(tokens) ** back
        there[:, back:] &= known[:, :width]
    return keys, there

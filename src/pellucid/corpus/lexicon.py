"""Words as a generated text has them, and word error rates.

A word is a token with all that follow it up to, but not including, the next token that begins with white space, at most
12 tokens; case and punctuation count. The token that ends a document is a word of its own and ends the continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import jiwer
import numpy as np
from jaxtyping import Bool

from pellucid.exact.predictor import TextCodec

LONGEST = 12
"""The most tokens in a word."""


@dataclass(frozen=True)
class Lexicon:
    """What each token id contributes to words: its bytes, and whether a new word begins with it."""

    pieces: tuple[bytes, ...]
    begins: Bool[np.ndarray, " vocab"]
    eos: int | None

    @staticmethod
    def of(tokenizer: TextCodec, n_vocab: int) -> Lexicon:
        """The lexicon of a tokenizer for a model of `n_vocab` logits; ids that it does not know are words."""
        known = min(tokenizer.n_tokens, n_vocab)
        pieces = [tokenizer.token_bytes(token) for token in range(known)]
        pieces = [piece or b"<%d>" % token for token, piece in enumerate(pieces)]
        pieces += [b"<%d>" % token for token in range(known, n_vocab)]
        begins = np.array([tokenizer.kind == "words" or _is_spaced(piece) for piece in pieces])
        begins[known:] = True
        if tokenizer.eos_id is not None:
            begins[tokenizer.eos_id] = True
        return Lexicon(tuple(pieces), begins, tokenizer.eos_id)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`; bytes that are no UTF-8 are written as escapes, so that different bytes stay so."""
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", errors="backslashreplace")

    def words(self, tokens: Sequence[int]) -> list[str]:
        """The complete words of a continuation: the last one counts only if it is known to have ended."""
        words: list[list[int]] = []
        for token in tokens:
            if not words or self.begins[token] or len(words[-1]) == LONGEST or words[-1] == [self.eos]:
                words.append([])
            words[-1].append(token)
        if words and words[-1] != [self.eos] and len(words[-1]) < LONGEST:
            words.pop()
        return [self.text(word) for word in words]


def _is_spaced(piece: bytes) -> bool:
    return piece.decode("utf-8", errors="replace")[:1].isspace()


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The fewest words to insert, delete or replace to turn `reference` (not empty) into `hypothesis`."""
    if list(reference) == list(hypothesis):
        return 0
    found = jiwer.process_words(_joined(reference), _joined(hypothesis))
    return found.substitutions + found.deletions + found.insertions


def _joined(words: Sequence[str]) -> str:
    """Words with all white space inside them escaped, so that jiwer splits the text back into the same words."""
    return " ".join(quote(word, safe="") for word in words)

"""Tokens of text that was met before: most stages of a run read the same blocks, and cutting them takes seconds."""

from __future__ import annotations

from array import array
from weakref import WeakKeyDictionary

from pellucid.exact.predictor import TextCodec

MOST = 1 << 24
"""Characters of text whose tokens are kept of a tokenizer; beyond them it is begun anew."""


class _Kept:
    """Tokens by text."""

    def __init__(self) -> None:
        self.tokens: dict[str, array[int]] = {}
        self.characters = 0

    def add(self, text: str, tokens: list[int]) -> None:
        if self.characters + len(text) > MOST:
            self.tokens.clear()
            self.characters = 0
        if len(text) <= MOST:
            self.tokens[text] = array("i", tokens)
            self.characters += len(text)


_KEPT: WeakKeyDictionary[TextCodec, _Kept] = WeakKeyDictionary()


def encoded(tokenizer: TextCodec, text: str) -> list[int]:
    """`tokenizer.encode(text)`, which is not done again while its tokens are kept."""
    kept = _KEPT.setdefault(tokenizer, _Kept())
    if (known := kept.tokens.get(text)) is not None:
        return known.tolist()
    tokens = tokenizer.encode(text)
    kept.add(text, tokens)
    return tokens

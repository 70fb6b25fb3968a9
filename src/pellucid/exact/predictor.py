"""What measuring needs to know of a subject or a program: token ids in, logits out, with a cache in between."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int


@runtime_checkable
class PredictorCache(Protocol):
    """What a predictor has computed for the tokens so far. Immutable: extending or taking makes a new one."""

    @property
    def length(self) -> int:
        """Positions held, the same for all rows."""
        ...

    def take(self, rows: Int[np.ndarray, " rows"], length: int) -> PredictorCache:
        """The cache of those rows (repeats allowed) and of their first `length` positions."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A function from token ids to next-token logits: the subject, the program, or a reference."""

    @property
    def n_ctx(self) -> int:
        """The most positions that a row can have."""
        ...

    @property
    def n_vocab(self) -> int:
        """The number of logits at each position."""
        ...

    def extend(
        self, ids: Int[np.ndarray, "batch new"], cache: Any = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], PredictorCache]:
        """Append `ids` to the rows of `cache` (None: start) and return the logits after each of them.

        `cache` is one that this predictor has made. With `last_only` just the logits after the last token.
        Raises `PellucidError` if a row would pass `n_ctx`.
        """
        ...


@runtime_checkable
class TextCodec(Protocol):
    """What measuring needs to know of a tokenizer."""

    @property
    def kind(self) -> str:
        """`bpe`, or `words` where each token is a word and text separates tokens by spaces."""
        ...

    @property
    def eos_id(self) -> int | None:
        """The token that separates documents, if there is one."""
        ...

    @property
    def start(self) -> tuple[int, ...]:
        """What a document begins with: the token that separates documents, unless texts are opened otherwise."""
        ...

    @property
    def n_tokens(self) -> int:
        """The number of tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`."""
        ...

    def token_bytes(self, id: int, /) -> bytes:
        """The bytes that one token stands for."""
        ...

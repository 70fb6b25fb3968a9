"""A tiny language: a tokenizer of a few pieces, a predictor that looks two tokens back, and texts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

PIECES = ("<|endoftext|>", " a", " b", "c", "\n", " d", "e", " f", "'s", " g", "h", " i")


class Pieces:
    """A tokenizer that knows `PIECES` and nothing else."""

    kind = "bpe"
    eos_id: int | None = 0
    start: tuple[int, ...] = (0,)
    n_tokens = len(PIECES)

    def encode(self, text: str) -> list[int]:
        ids, at = [], 0
        while at < len(text):
            token = next((t for t, piece in enumerate(PIECES) if text.startswith(piece, at)), None)
            if token is not None:
                ids.append(token)
            at += 1 if token is None else len(PIECES[token])
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join(PIECES[token] for token in ids)

    def token_bytes(self, token: int) -> bytes:
        return PIECES[token].encode()


@dataclass(frozen=True)
class Held:
    """A cache of the tokens themselves."""

    tokens: np.ndarray

    @property
    def length(self) -> int:
        return self.tokens.shape[1]

    def take(self, rows: np.ndarray, length: int) -> Held:
        return Held(self.tokens[rows, :length].copy())


@dataclass(frozen=True)
class Markov:
    """Logits from the last token, and the one before it with weight `far`; `shift` is added to token 1."""

    n_ctx: int = 48
    n_vocab: int = len(PIECES)
    far: float = 1.0
    shift: float = 0.0
    seed: int = 0
    sent: list[np.ndarray] = field(default_factory=list, compare=False)

    def extend(self, ids, cache=None, last_only=False):  # type: ignore[no-untyped-def]
        self.sent.append(np.array(ids))
        tokens = ids if cache is None else np.concatenate([cache.tokens, ids], 1)
        assert tokens.shape[1] <= self.n_ctx
        near, far = np.random.default_rng(self.seed).normal(size=(2, self.n_vocab + 1, self.n_vocab)) * 1.5
        before = np.concatenate([np.full((len(ids), 1), -1), tokens], 1)[:, :-1]
        logits = near[tokens] + self.far * far[before]
        logits[..., 1] += self.shift
        new = 1 if last_only else ids.shape[1]
        return logits[:, -new:].astype(np.float32), Held(tokens)

    def but(self, **changes: float) -> Markov:
        """The same predictor with some fields changed."""
        return replace(self, sent=[], **changes)


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
def markov() -> Markov:
    return Markov()

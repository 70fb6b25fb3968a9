"""Text that a subject writes itself, for when no other is given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64

from pellucid.corpus.corpus import Corpus, story_corpus
from pellucid.exact.predictor import Predictor, TextCodec

_BATCH = 64
"""Documents written at a time."""


def sampled_corpus(
    subject: Predictor, tokenizer: TextCodec, name: str, tokens: int = 400_000, seed: int = 0, longest: int = 256
) -> Corpus:
    """A corpus of about `tokens` tokens that the subject writes at temperature 1; its `origin` says so.

    A document starts as documents do (with a random token where that is none) and ends with the token that ends a text,
    after `longest` tokens, or at the end of the context. The texts are held in memory, some four bytes a token.
    """
    texts: list[str] = []
    written = 0
    rng = np.random.default_rng(seed)
    while written < tokens:
        for document in _documents(subject, tokenizer, min(longest, subject.n_ctx), rng):
            written += max(1, len(document))
            texts.append(tokenizer.decode(document))
    origin = f"sampled from {name} itself at temperature 1 (seed {seed}), for want of a corpus: not natural text"
    return story_corpus(lambda: texts, origin, "sampled")


def _documents(subject: Predictor, tokenizer: TextCodec, longest: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """A batch of documents, without what they begin and end with."""
    start, eos = tokenizer.start, tokenizer.eos_id
    new = np.tile(start, (_BATCH, 1)) if start else rng.integers(subject.n_vocab, size=_BATCH)[:, None]
    written: list[list[int]] = [[] if start else [int(first)] for first in new[:, 0]]
    rows, cache = np.arange(_BATCH), None
    for _ in range(longest - 1):
        logits, cache = subject.extend(new, cache, last_only=True)
        token = _draw(logits[:, -1], rng)
        keep = np.flatnonzero(token != (-1 if eos is None else eos))
        if len(keep) < len(rows):
            rows, token, cache = rows[keep], token[keep], cache.take(keep, cache.length)
        if not len(rows):
            break
        new = token[:, None]
        for row, value in zip(rows, token, strict=True):
            written[row].append(int(value))
    yield from written


def _draw(logits: Float32[np.ndarray, "batch vocab"], rng: np.random.Generator) -> Int64[np.ndarray, " batch"]:
    """A token from each row's distribution."""
    mass = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1, dtype=np.float64)
    ticket = rng.random((len(mass), 1)) * mass[:, -1:]
    return np.asarray((mass <= ticket).sum(-1), np.int64)

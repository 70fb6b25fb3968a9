"""Text that a subject writes itself, for when no other is given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64

from pellucid.experiment.corpus import Corpus, story_corpus
from pellucid.experiment.predictor import Predictor, TextCodec

_BATCH = 64
"""Documents written at a time."""


def sampled_corpus(
    subject: Predictor, tokenizer: TextCodec, name: str, tokens: int = 400_000, seed: int = 0, longest: int = 256
) -> Corpus:
    """A corpus of about `tokens` tokens that the subject writes at temperature 1; its `origin` says so.

    A document starts with the token that separates documents (a random one where there is none) and ends with it, after
    `longest` tokens, or at the end of the context. The texts are held in memory, some four bytes a token.
    """
    texts: list[str] = []
    written = 0
    rng = np.random.default_rng(seed)
    while written < tokens:
        for document in _documents(subject, tokenizer.eos_id, min(longest, subject.n_ctx), rng):
            written += max(1, len(document))
            texts.append(tokenizer.decode(document))
    origin = f"sampled from {name} itself at temperature 1 (seed {seed}), for want of a corpus: not natural text"
    return story_corpus(lambda: texts, origin, "sampled")


def _documents(subject: Predictor, eos: int | None, longest: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """A batch of documents, without the token that separates them."""
    opening = rng.integers(subject.n_vocab, size=_BATCH) if eos is None else np.full(_BATCH, eos)
    rows, token = np.arange(_BATCH), opening
    written: list[list[int]] = [[] if eos is not None else [int(first)] for first in opening]
    cache = None
    for _ in range(longest - 1):
        logits, cache = subject.extend(token[:, None], cache, last_only=True)
        token = _draw(logits[:, -1], rng)
        keep = np.flatnonzero(token != (-1 if eos is None else eos))
        if len(keep) < len(rows):
            rows, token, cache = rows[keep], token[keep], cache.take(keep, cache.length)
        if not len(rows):
            break
        for row, value in zip(rows, token, strict=True):
            written[row].append(int(value))
    yield from written


def _draw(logits: Float32[np.ndarray, "batch vocab"], rng: np.random.Generator) -> Int64[np.ndarray, " batch"]:
    """A token from each row's distribution."""
    mass = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1, dtype=np.float64)
    ticket = rng.random((len(mass), 1)) * mass[:, -1:]
    return np.asarray((mass <= ticket).sum(-1), np.int64)

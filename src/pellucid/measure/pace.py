"""How long a measurement will take, and how much of it fits into a given time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np

from pellucid.base.effort import Effort
from pellucid.base.events import spell
from pellucid.exact.predictor import Predictor
from pellucid.measure.continue_words import room_for
from pellucid.measure.fidelity import MeasureSettings

BESIDE_CONTEXTS = 1000
"""Contexts from which is continued what stands beside a full program, and is not held to the gate."""
PER_ROW = 8
"""Contexts continued from each row of text."""
REFERENCE_SECONDS = 120.0
"""What averaging the subject's predictions may take in a full measurement."""
_WRITTEN = 40
"""Tokens a 16-word continuation takes until most of a batch is done."""
_AT_ONCE = 1e-3
"""Seconds per token up to which a batch of 64 rows is worth timing."""
MOST_ROWS = 512
"""Rows in a batch: what a program does once a step, whatever the rows, is then done seldom."""
_MEMORY = 1 << 28
"""Bytes for the caches of one predictor."""


@dataclass(frozen=True)
class Pace:
    """Seconds per token read in bulk and per token written one by one, of one predictor."""

    read: float
    write: float


@dataclass(frozen=True)
class MeasurementPlan:
    """How much to measure, and what it is expected to take: `seconds`, and `memory` in bytes without the weights."""

    settings: MeasureSettings
    rows: int
    length: int
    reference_tokens: int
    reference_bytes: int
    seconds: float
    memory: int

    def __str__(self) -> str:
        return self.on(self.settings.contexts, self.rows)

    def on(self, contexts: int, rows: int) -> str:
        """The plan in words, with the `contexts` and `rows` that there really are."""
        return (
            f"{contexts:,} contexts in {rows:,} rows of up to {self.length:,} tokens: "
            f"about {spell(self.seconds)}, {self.memory / 2**30:.1f} GiB besides the weights"
        )


def beside(contexts: int) -> float:
    """The share of so many contexts from which is continued what stands beside a full program."""
    return min(1.0, BESIDE_CONTEXTS / max(1, contexts))


def probe(predictor: Predictor) -> Pace:
    """Time a predictor on small batches; of three runs the fastest counts, since others may use the machine too."""
    predictor.extend(np.zeros((1, 2), np.int64))
    pace = _fastest(predictor, 4, 16)
    return _fastest(predictor, 64, 64) if pace.read < _AT_ONCE else pace


def _fastest(predictor: Predictor, reading: int, writing: int) -> Pace:
    paces = [_time(predictor, reading, writing) for _ in range(3)]
    return Pace(min(pace.read for pace in paces), min(pace.write for pace in paces))


def _time(predictor: Predictor, reading: int, writing: int) -> Pace:
    """Read that many rows of 64 tokens, then write one token behind each of as many rows as `writing`."""
    ids = np.random.default_rng(0).integers(predictor.n_vocab, size=(reading, min(64, predictor.n_ctx - 1)))
    start = perf_counter()
    _, cache = predictor.extend(ids)
    read = (perf_counter() - start) / ids.size
    cache = cache.take(np.arange(writing) % reading, cache.length)
    start = perf_counter()
    predictor.extend(np.zeros((writing, 1), np.int64), cache, last_only=True)
    return Pace(read, (perf_counter() - start) / writing)


def plan(
    paces: Mapping[str, Pace],
    subject: str,
    n_ctx: int,
    n_vocab: int,
    cache_bytes: int,
    effort: Effort,
    seconds: float | None = None,
) -> MeasurementPlan:
    """How much of `paces` (those of the `subject` and of all that is measured against it) fits into `seconds`.

    `cache_bytes` is what one position of one row takes in a cache (for GPT-2: layers × 2 × d_model × 4). Without
    `seconds`, what the `effort` says: usually 5,000 contexts however long they take; in a quick run 500
    contexts, of rows of at most 256 tokens, in 90 seconds: fewer if they take longer. A fifth of the time goes to the
    references (in a full one, at most two minutes).
    """
    budget = seconds if seconds is not None else effort.seconds
    length = min(n_ctx, effort.longest_row)
    read, write = (sum(getattr(pace, kind) for pace in paces.values()) for kind in ("read", "write"))
    each = read * length / PER_ROW + write * min(_WRITTEN, room_for(16, n_ctx))
    contexts = effort.contexts
    if budget is not None:
        contexts = max(PER_ROW, min(contexts, int(0.8 * budget / each)))
    own = paces[subject].read
    seconds_left = REFERENCE_SECONDS if budget is None else 0.2 * budget
    tokens = max(length, min(effort.reference_tokens, int(seconds_left / own)))
    rows = ceil(contexts / PER_ROW)
    batch = max(1, min(MOST_ROWS, rows, _MEMORY // (length * cache_bytes)))
    tables = min(effort.reference_bytes, 4 * n_vocab * tokens)
    memory = tables + len(paces) * (2 * batch * length * cache_bytes + (1 << 26))
    settings = MeasureSettings(contexts=contexts, batch=batch)
    return MeasurementPlan(settings, rows, length, tokens, tables, contexts * each + tokens * own, memory)


def sampling_tokens(pace: Pace, effort: Effort) -> int:
    """How many tokens the subject is to write for want of a corpus: what takes five minutes, or one in a quick run."""
    return max(20_000, min(effort.sampled_tokens, int(effort.sampling_seconds / pace.write)))

"""The whole model, read top to bottom: token ids in, logits out.

What the parts of a layer run is written in `layer_00.py` and so on; `parts.py` runs them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .parts import MLP, Attention, Embedding, Norm, Plan, probe, unembedding
from .prelude import Floats, Integers, ProgramError, View
from .runtime import Cache, Config, in_parallel, matmul, read_weights
from .vocabulary import Vocabulary

SUBJECT = "a model"
CONFIG = Config(
    layers=1,
    heads=1,
    model=1,
    neurons=1,
    positions=1,
    vocabulary=1,
    activation="gelu_new",
    layer_norm_epsilon=1e-5,
    scale_attn_weights=True,
    scale_attn_by_inverse_layer_idx=False,
    tied=True,
)
PROJECT = Path(__file__).resolve().parents[1]
TOKENS = 512  # computed at a time, so that a layer's work stays in the processor's cache


class Model:
    """The program, ready to run; `source_only` ("code" or "all") switches the residuals off."""

    n_ctx = CONFIG.positions
    n_vocab = CONFIG.vocabulary

    def __init__(self, source_only: str | None = None):
        weights = read_weights(PROJECT / "weights.safetensors", SUBJECT)
        self.vocabulary = Vocabulary()
        self.plan = Plan(CONFIG, weights, source_only, PROJECT)
        self.embed = Embedding(self.plan)
        self.layers = []
        for n in range(CONFIG.layers):
            norms = Norm(self.plan, f"L{n:02d}.LN1", f"h.{n}.ln_1"), Norm(self.plan, f"L{n:02d}.LN2", f"h.{n}.ln_2")
            self.layers.append((norms[0], Attention(self.plan, n), norms[1], MLP(self.plan, n)))
        self.norm = Norm(self.plan, "LNF", "ln_f")
        self.unembed = unembedding(self.plan)  # [model, vocab]

    def forward(self, ids: Integers, past: int, held: Floats) -> Floats:
        """The final residual stream of the tokens after the first `past` ones, [batch, new, model].

        `held` [layer, batch, positions so far, keys then values] has those of the past; the new ones are filled in.
        """
        view = View(ids, past, self.vocabulary)
        stream = self.embed(view)
        for n, (norm_1, attention, norm_2, mlp) in enumerate(self.layers):
            stream += attention(norm_1(stream), view, held[n])
            stream += mlp(norm_2(stream), view)
        return self.norm(stream)

    def extend(self, ids: Integers, cache: Cache | None = None, last_only: bool = False) -> tuple[Floats, Cache]:
        """Append `ids` [batch, new] to what `cache` holds: the logits after each of them, [batch, new, vocab].

        With `last_only` just those after the last, [batch, 1, vocab]. The old cache stays valid.
        """
        batch, new = ids.shape
        past = cache.length if cache else 0
        if past + new > self.n_ctx:
            raise ProgramError(f"{past + new} tokens are more than the {self.n_ctx} positions of {SUBJECT}")
        if ids.size and not 0 <= ids.min() <= ids.max() < self.n_vocab:
            raise ProgramError(f"token ids must be from 0 to {self.n_vocab - 1}, not {ids.min()} to {ids.max()}")
        cache = (cache or Cache.empty(CONFIG.layers, batch, new, CONFIG.model)).grown(ids, self.n_ctx)
        logits = np.empty((batch, min(new, 1) if last_only else new, self.n_vocab), np.float32)
        seen = slice(cache.length)

        def run(rows: slice) -> None:
            final = self.forward(cache.ids[rows, seen], past, cache.held[:, rows, seen])
            matmul(final[:, -1:] if last_only else final, self.unembed, out=logits[rows])

        step = max(1, TOKENS // max(1, new))
        in_parallel(run, [slice(start, start + step) for start in range(0, batch, step)])
        return logits, cache

    def logits(self, ids: Integers) -> Floats:
        """The logits after each token of whole rows, [batch, pos, vocab]."""
        return self.extend(ids)[0]

    def check(self) -> None:
        """Call every source once. Raises `ProgramError` naming the part that is broken."""
        probe(self.plan.sources(), CONFIG, self.vocabulary)

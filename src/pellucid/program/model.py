"""The whole model, read top to bottom: token ids in, logits out.

What the parts of a layer run is written in `layer_00.py` and so on; `parts.py` runs them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .parts import MLP, Attention, Embedding, Norm, Plan, unembedding
from .prelude import Floats, Integers, View
from .rotary import Rotary  # for: rotary
from .runtime import Cache, Config, in_parallel, matmul, read_weights, soft_cap
from .vocabulary import Vocabulary

SUBJECT = "a model"
MADE_OF: tuple[str, ...] = ()
CONFIG = Config(
    layers=1,
    model=1,
    heads=1,
    groups=1,
    dim=1,
    neurons=1,
    positions=1,
    vocabulary=1,
    activation="gelu_new",
    epsilon=1e-5,
    scale=1.0,
    scales=(1.0,),
    rotary=Rotary(1e4, 1, 1.0, 1.0, 4.0, 1, 1.0, 32.0, 1.0, True),
    local_rotary=Rotary(1e4, 1, 1.0, 1.0, 4.0, 1, 1.0, 32.0, 1.0, True),
    window=1,
    local=(0,),
    score_cap=1.0,
    logit_cap=1.0,
    embed_scale=1.0,
)
PROJECT = Path(__file__).resolve().parents[1]
TOKENS = 512  # computed at a time, so that a layer's work stays in the processor's cache


class Model:
    """The program, ready to run; `source_only` switches residuals off: "code" (every QK and IN) or "all"."""

    n_ctx = CONFIG.positions
    n_vocab = CONFIG.vocabulary

    def __init__(self, source_only: str | None = None):
        self.vocabulary = Vocabulary()
        self.plan = Plan(CONFIG, partial(read_weights, PROJECT / "weights.safetensors", SUBJECT), source_only, PROJECT)
        self.embed = Embedding(self.plan)
        self.layers = [(Attention(self.plan, n), MLP(self.plan, n)) for n in range(CONFIG.layers)]
        self.norm = Norm(self.plan, "LNF")
        self.unembed = unembedding(self.plan)  # [model, vocab]

    def forward(self, ids: Integers, past: int, held: Floats, said: Floats) -> Floats:
        """The final residual stream of the tokens after the first `past` ones, [batch, new, model].

        `held` [layer, batch, positions so far, keys then values] and `said` [batch, positions so far, named value]
        have those of the past; the new ones are filled in.
        """
        view = View(ids, past, self.vocabulary, said)
        stream = self.embed(view)
        for n, (attention, mlp) in enumerate(self.layers):
            stream += attention(attention.norm(stream, view), view, held[n])  # for: not parallel
            stream += mlp(mlp.norm(stream, view), view)  # for: not parallel
            moved = attention(attention.norm(stream, view), view, held[n])  # for: parallel
            stream += mlp(mlp.norm(stream, view), view) + moved  # both read the same stream  # for: parallel
        return self.norm(stream, view)

    def extend(self, ids: Integers, cache: Cache | None = None, last_only: bool = False) -> tuple[Floats, Cache]:
        """Append `ids` [batch, new] to what `cache` holds: the logits after each of them, [batch, new, vocab].

        With `last_only` just those after the last, [batch, 1, vocab]. The old cache stays valid.
        """
        batch, new = ids.shape
        past = cache.length if cache else 0
        grown = (cache or Cache.empty(CONFIG, batch, new, len(self.plan.values.kept))).grown(ids, CONFIG)
        logits = np.empty((batch, min(new, 1) if last_only else new, CONFIG.vocabulary), np.float32)

        def run(rows: slice) -> None:
            end = grown.length
            final = self.forward(grown.ids[rows, :end], past, grown.held[:, rows, :end], grown.said[rows, :end])
            matmul(final[:, -1:] if last_only else final, self.unembed, out=logits[rows])
            soft_cap(logits[rows], CONFIG.logit_cap)  # for: logit cap

        step = max(1, TOKENS // max(1, new))
        in_parallel(run, [slice(start, start + step) for start in range(0, batch, step)])
        return logits, grown

    def logits(self, ids: Integers) -> Floats:
        """The logits after each token of whole rows, [batch, pos, vocab]."""
        return self.extend(ids)[0]

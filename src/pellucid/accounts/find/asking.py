"""What a model says next behind prompts: one token each, the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.accounts.answers import batches
from pellucid.accounts.find.relations import Says
from pellucid.accounts.find.stream import NONE, Places
from pellucid.exact.predictor import Predictor
from pellucid.subject.tokenizer import Tokenizer


def asker(predictor: Predictor, tokenizer: Tokenizer) -> Says:
    """A function that asks `predictor`; `NONE` behind prompts that are longer than its context, or empty."""

    def says(texts: Sequence[str]) -> Places:
        prompts = [tokenizer.opened(text) for text in texts]
        fits = [row for row, ids in enumerate(prompts) if 0 < len(ids) <= predictor.n_ctx]
        found = np.full(len(prompts), NONE)
        for rows in batches([prompts[row] for row in fits]):
            own = [fits[row] for row in rows.tolist()]
            ids = np.array([prompts[row] for row in own], np.int64)
            found[own] = predictor.extend(ids, last_only=True)[0][:, -1].argmax(-1)
        return found

    return says

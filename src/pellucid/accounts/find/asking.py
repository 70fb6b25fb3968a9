"""What a model says next behind prompts: one token each, the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pellucid.accounts.answers import batches
from pellucid.accounts.find.relations import Says
from pellucid.accounts.find.stream import NONE, Places
from pellucid.exact.model import Model


def asker(model: Model) -> Says:
    """A function that asks `model`; `NONE` behind prompts that are longer than its context, or empty."""

    def says(texts: Sequence[str]) -> Places:
        prompts = [model.tokenizer.opened(text) for text in texts]
        fits = [row for row, ids in enumerate(prompts) if 0 < len(ids) <= model.n_ctx]
        found = np.full(len(prompts), NONE)
        with torch.no_grad():
            for rows in batches([prompts[row] for row in fits]):
                own = [fits[row] for row in rows.tolist()]
                found[own] = model.logits(torch.tensor([prompts[row] for row in own]))[:, -1].argmax(-1).cpu().numpy()
        return found

    return says

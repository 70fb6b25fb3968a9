"""Rows of one length, packed from texts one after the other, as language models are trained on."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import CorpusError
from pellucid.exact.model import Model
from pellucid.experiment.corpus import Split
from pellucid.experiment.rows import sample_rows


def packed_rows(split: Split, model: Model, count: int, seed: int = 0) -> Int[Tensor, "row pos"]:
    """About `count` rows of a whole context each; the first text of a row starts with it, its last one is cut.

    Raises `CorpusError` if the text fills no row.
    """
    length = model.n_ctx
    rows: list[list[int]] = []
    row: list[int] = []
    for window in sample_rows(split, model.tokenizer, length, 2 * count, seed):
        row += window.tokens.tolist()
        if len(row) >= length:
            rows.append(row[:length])
            row = []
            if len(rows) == count:
                break
    if not rows:
        raise CorpusError(f"the text ({split.corpus.origin}) does not fill one context of {length} tokens; give more")
    return torch.tensor(rows)

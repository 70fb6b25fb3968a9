"""Rows of one length, packed from texts one after the other, as language models are trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.defaults import LONGEST_ROW
from pellucid.base.errors import CorpusError
from pellucid.corpus.corpus import Split
from pellucid.corpus.rows import Row, sample_rows
from pellucid.exact.model import Model


def row_tokens(model: Model) -> int:
    """The tokens of a packed row: a whole context, or of a model that reads longer ones as many as there may be."""
    return min(model.n_ctx, LONGEST_ROW)


def packed_rows(split: Split, model: Model, count: int, seed: int = 0) -> Int[Tensor, "row pos"]:
    """`count` rows of `row_tokens` tokens each, fewer where there is no more text.

    The first text of a row starts with it, its last one is cut.
    Raises `CorpusError` if the text fills no row.
    """
    length, wanted, drawn = row_tokens(model), 2 * count, -1
    rows: list[list[int]] = []
    while len(rows) < count:
        windows = sample_rows(split, model.tokenizer, length, wanted, seed)
        if len(windows) <= drawn:
            break
        rows, drawn, wanted = packed(windows, length, count), len(windows), 2 * wanted
    if not rows:
        raise CorpusError(f"the text ({split.corpus.origin}) does not fill one context of {length} tokens; give more")
    return torch.tensor(rows)


def packed(windows: Iterable[Row], length: int, count: int) -> list[list[int]]:
    """At most `count` rows of `length` tokens, of windows one after the other."""
    rows: list[list[int]] = []
    row: list[int] = []
    for window in windows:
        row += window.tokens.tolist()
        if len(row) >= length:
            rows.append(row[:length])
            row = []
            if len(rows) == count:
                break
    return rows

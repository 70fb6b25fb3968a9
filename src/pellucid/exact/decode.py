"""Greedy decoding with a cache: the likeliest token, ties broken towards the smaller id."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.exact.cache import ModelCache
from pellucid.exact.model import Model


def greedy(model: Model, ids: Int[Tensor, "batch pos"], count: int) -> Int[Tensor, "batch count"]:
    """The next `count` tokens of each row of `ids`; all rows have the same length.

    Raises `PellucidError` where there is nothing to continue, or the text would outgrow the model's context.
    """
    if not ids.shape[1]:
        raise PellucidError("there is no token to continue from; give at least one a row")
    cache = ModelCache()
    produced: list[Tensor] = []
    new = ids.to(model.device)
    with torch.inference_mode():
        for _ in range(count):
            cache = cache.grown(new.shape[1])
            final = model.run(new, ("final",), cache=cache)["final"][:, -1:]
            logits = model.unembed(final)
            new = logits.argmax(dim=-1)
            produced.append(new)
    return torch.cat(produced, dim=1).cpu() if produced else ids.new_empty(ids.shape[0], 0).cpu()

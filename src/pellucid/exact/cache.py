"""Keys and values of the positions already read, so that a longer text costs only its new tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Held = Float[Tensor, "batch head key dim"]


@dataclass
class _Store:
    """Memory that several caches may share: each sees a prefix, and only the one that sees all of it may append."""

    data: Held
    used: int

    def takes(self, start: int, end: int) -> bool:
        """Whether the positions from `start` to `end` can be written here: free, there, and of the same grad mode."""
        same_mode = self.data.is_inference() == torch.is_inference_mode_enabled()
        return self.used == start and end <= self.data.shape[2] and same_mode


@dataclass
class ModelCache:
    """What a model remembers of `length` positions. Extending it gives another cache and leaves this one as it was."""

    length: int = 0
    _stores: dict[str, _Store] = field(default_factory=dict, repr=False)

    def grown(self, by: int) -> ModelCache:
        """The cache of `by` positions more, to be filled by `append` to each slot."""
        return ModelCache(self.length + by, dict(self._stores))

    def append(self, slot: str, new: Float[Tensor, "batch head new dim"]) -> Held:
        """Fill the last positions of `slot` with `new`; returns all positions. Gradients do not pass through.

        Raises `ValueError` where the positions before are not held, or are those of another number of rows.
        """
        start = self.length - new.shape[2]
        store = self._stores.get(slot)
        held = (new.shape[0], 0) if store is None else (store.data.shape[0], store.used)
        if held[0] != new.shape[0] or held[1] < start:
            rows, positions = held
            raise ValueError(
                f"{slot} of the cache holds {rows} rows of {positions} positions, expected {new.shape[0]} of {start}; "
                "give one row of ids for each, and extend only caches of runs that reached the last layer"
            )
        if store is None or not store.takes(start, self.length):
            store = self._stores[slot] = _room(store, start, self.length, new)
        store.data[:, :, start : self.length] = new.detach()
        store.used = self.length
        return store.data[:, :, : self.length]

    def take(self, rows: Int[np.ndarray, " rows"], length: int) -> ModelCache:
        """A copy of the first `length` positions of `rows`; it shares nothing with this cache."""
        if not 0 <= length <= self.length:
            raise ValueError(f"a cache of {self.length} positions has no prefix of {length}")
        chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        taken = {}
        for slot, store in self._stores.items():
            with torch.inference_mode(store.data.is_inference()):
                taken[slot] = _Store(store.data[chosen.to(store.data.device), :, :length], length)
        return ModelCache(length, taken)


def _room(old: _Store | None, start: int, end: int, like: Tensor) -> _Store:
    """Memory for `end` positions and some to spare, that begins with the first `start` of `old`."""
    batch, heads, _, dim = like.shape
    data = like.detach().new_empty(batch, heads, end + max(16, end // 4), dim)
    if old is not None:
        data[:, :, :start] = old.data[:, :, :start]
    return _Store(data, start)

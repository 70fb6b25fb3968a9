"""An exact model with changes, as what text is written with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Integer

from pellucid.base.errors import PellucidError
from pellucid.exact.cache import ModelCache
from pellucid.exact.graph import Edit
from pellucid.exact.rows import Rows, Stretch


@runtime_checkable
class Changes(Protocol):
    """An intervention: it says what it puts in place of activations, whichever positions are computed."""

    def edits(self, model: Any, stretch: Stretch, under: Mapping[str, Edit]) -> dict[str, Edit]:
        """The edits of `under`, and behind them its own."""
        ...


@dataclass(frozen=True)
class Changed:
    """An exact model with changes. Their positions are those of prompts of `prompt` tokens and of what follows.

    `keep` gets the activations `record` of every stretch that is computed.
    """

    model: Any
    changes: tuple[Changes, ...]
    prompt: int
    record: tuple[str, ...] = ()
    keep: Callable[[dict[str, torch.Tensor]], None] = lambda _: None

    @property
    def n_ctx(self) -> int:
        """The most positions that a row can have."""
        return int(self.model.n_ctx)

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: ModelCache | None = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], ModelCache]:
        """As `Model.extend`, with the changes. Raises `PellucidError` where numbers are no longer finite."""
        grown = (cache or ModelCache()).grown(ids.shape[1])
        tokens = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64))
        stretch = Stretch(Rows(tokens), grown.length - ids.shape[1], self.n_ctx, self.prompt)
        end = self.model.last_resid
        want = tuple(dict.fromkeys(("logits", end, *self.record)))
        edits = edits_of_all(self.model, self.changes, stretch)
        with torch.inference_mode():
            values = self.model.run(tokens, want, edits=edits, cache=grown)
            self.keep({name: values[name] for name in self.record})
            logits = values["logits"][:, -1:] if last_only else values["logits"]
            if self.model.is_broken("logits", logits) or self.model.is_broken(end, values[end]):
                made = ", ".join(map(repr, self.changes)) or "nothing changed"
                raise PellucidError(
                    f"with {made} the logits are no longer finite in {self.model.precision}, or the stream is too "
                    "large for a norm to read; make what is put there smaller"
                )
            return logits.float().cpu().numpy(), grown


def edits_of_all(model: Any, changes: Iterable[Changes], stretch: Stretch) -> dict[str, Edit]:
    """The edits of several changes, in the order in which they are given."""
    edits: dict[str, Edit] = {}
    for change in changes:
        edits = change.edits(model, stretch, edits)
    return edits

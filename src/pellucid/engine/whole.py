"""Programs that run whole rows: a predictor whose cache is the tokens so far, all of which are computed again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer

from pellucid.engine.intervene import Change
from pellucid.engine.subjects import Subject, model_of
from pellucid.engine.trace import traced
from pellucid.exact.model import Model
from pellucid.exact.predictor import Predictor
from pellucid.exact.rows import Stretch


@dataclass(frozen=True)
class Tokens:
    """The tokens of each row so far."""

    ids: Int64[np.ndarray, "batch pos"] = field(repr=False)

    @property
    def length(self) -> int:
        """Positions held."""
        return int(self.ids.shape[1])

    def take(self, rows: Integer[np.ndarray, " rows"], length: int) -> Tokens:
        """Those of `rows`, and of their first `length` positions."""
        return Tokens(self.ids[rows, :length])


@dataclass(frozen=True)
class Whole:
    """A subject with changes, whose positions are those of prompts of `prompt` tokens and of what follows."""

    subject: Subject
    changes: tuple[Change, ...] = ()
    prompt: int | None = None

    @property
    def n_ctx(self) -> int:
        """The most positions that a row can have."""
        return model_of(self.subject).n_ctx

    @property
    def n_vocab(self) -> int:
        """The number of logits at each position."""
        return model_of(self.subject).n_vocab

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: Tokens | None = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], Tokens]:
        """The logits after each of `ids`, or after the last only."""
        whole = np.asarray(ids if cache is None else np.concatenate([cache.ids, ids], 1), np.int64)
        rows = model_of(self.subject).rows(torch.from_numpy(whole))
        with torch.no_grad():
            run = traced(self.subject, Stretch(rows, 0, self.n_ctx, self.prompt), changes=self.changes)
        logits = run.logits[:, -1 if last_only else -ids.shape[1] :]
        return logits.float().cpu().numpy().reshape(len(ids), -1, self.n_vocab), Tokens(whole)


def predictor_of(subject: Subject) -> Predictor:
    """What predicts as `subject` does, with the model's own cache where nothing takes the place of its activations."""
    return subject if isinstance(subject, Model) else Whole(subject)

"""The model as a teacher: its answers, how clear they are, and what its heads carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.weightless.task import Judged, TaskRow

ARGMAX_MARGIN, SET_MARGIN = 0.5, 0.25
BATCH_TOKENS = 12_000


@dataclass(frozen=True, eq=False)
class Read:
    """Rows as the model answered them, padded behind their ends.

    `answer` holds token ids [batch pos], or booleans [batch pos vocab] where the answer is a set; `clear` says where
    the top two logits are more than 0.5 apart (for sets: where every logit is more than 0.25 from 0).
    """

    ids: Int64[np.ndarray, "batch pos"]
    scored: Bool[np.ndarray, "batch pos"]
    answer: np.ndarray
    clear: Bool[np.ndarray, "batch pos"]

    @property
    def inside(self) -> Bool[np.ndarray, "batch pos"]:
        """Positions that are no padding."""
        last = np.array([np.flatnonzero(row).max(initial=0) for row in self.scored])
        return np.arange(self.ids.shape[1])[None] <= last[:, None]


def padded(rows: Sequence[TaskRow], length: int | None = None) -> Int64[np.ndarray, "batch pos"]:
    """The ids of `rows` as one array, zeros behind their ends."""
    ids = np.zeros((len(rows), length or max(len(row.ids) for row in rows)), np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = row.ids
    return ids


def scored(rows: Sequence[TaskRow], length: int) -> Bool[np.ndarray, "batch pos"]:
    """Which positions of `rows` count."""
    mask = np.zeros((len(rows), length), bool)
    for at, row in enumerate(rows):
        mask[at, list(row.scored)] = True
    return mask


def answers(logits: Float32[np.ndarray, "*batch vocab"], kind: Judged) -> np.ndarray:
    """What the model says: the likeliest token, or every token whose logit is above 0."""
    return logits > 0 if kind == "set" else logits.argmax(-1)


def clear(logits: Float32[np.ndarray, "*batch vocab"], kind: Judged) -> np.ndarray:
    """Where what the model says does not hang on the last digits."""
    if kind == "set":
        return np.asarray((np.abs(logits) > SET_MARGIN).all(-1))
    top = np.partition(logits, -2, axis=-1)[..., -2:]
    return np.asarray(top[..., 1] - top[..., 0] > ARGMAX_MARGIN)


def same(left: Any, right: Any, kind: Judged) -> np.ndarray:
    """Where two answers agree."""
    return np.asarray((left == right).all(-1) if kind == "set" else left == right)


def batches(ids: Int64[np.ndarray, "batch pos"]) -> Iterator[slice]:
    """Slices of rows that fit in memory together."""
    step = max(1, BATCH_TOKENS // ids.shape[1])
    yield from (slice(at, at + step) for at in range(0, len(ids), step))


def logits(
    model: Model, ids: Int64[np.ndarray, "batch pos"], instead: Mapping[str, Tensor] | None = None
) -> Float32[np.ndarray, "batch pos vocab"]:
    """The model's logits; `instead` replaces activations by others of all rows."""
    return record(model, ids, ("logits",), instead)["logits"]


def edited(model: Model, ids: Int64[np.ndarray, "batch pos"], edits: Mapping[str, Edit]) -> np.ndarray:
    """The logits of one batch with activations replaced."""
    with torch.inference_mode():
        return np.asarray(model.run(torch.from_numpy(ids), ("logits",), edits=edits)["logits"].numpy())


def record(
    model: Model,
    ids: Int64[np.ndarray, "batch pos"],
    names: Sequence[str],
    instead: Mapping[str, Tensor] | None = None,
) -> dict[str, np.ndarray]:
    """Activations of all rows by name, whole in memory; `instead` replaces activations by others of all rows."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with torch.inference_mode():
        for part in batches(ids):
            edits = {name: constant(value[part]) for name, value in (instead or {}).items()}
            for name, value in model.run(torch.from_numpy(ids[part]), tuple(names), edits=edits).items():
                found[name].append(value.numpy())
    return {name: np.concatenate(values) for name, values in found.items()}


def constant(value: Tensor) -> Edit:
    """The edit that replaces an activation by `value`."""
    return lambda _: value


def read(model: Model, rows: Sequence[TaskRow], kind: Judged) -> Read:
    """Run the model over `rows`."""
    ids = padded(rows)
    found = logits(model, ids)
    return Read(ids, scored(rows, ids.shape[1]), answers(found, kind), clear(found, kind))

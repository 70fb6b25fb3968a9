"""Linear probes: whether a property can be read off activations, beside a control task that says what reading is worth.

The control task (Hewitt & Liang, 2019, arXiv 1909.03368) gives every token type a random label of its own: a probe that
does as well there has memorised types. Selectivity is the probe's accuracy minus the control's, both on rows that
neither was fit on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Integer
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.engine.pairs import index_of
from pellucid.engine.subjects import Subject, Text
from pellucid.engine.trace import trace
from pellucid.exact.rows import Rows

IGNORED = -1
"""The label of a position that does not count."""


@dataclass(frozen=True)
class Probe:
    """How well labels were read at `where` on `tested` examples; `majority` is what the commonest label alone gets."""

    where: str
    """The activation that was read."""
    accuracy: float
    """The share of test examples that were told right."""
    control: float | None
    """The same of a probe for random labels; None where there is no control."""
    majority: float
    fitted: int
    """Examples that it was fitted on."""
    tested: int
    weights: Float32[np.ndarray, "class feature"] = field(repr=False)
    """A direction for each class."""

    @property
    def selectivity(self) -> float | None:
        """Accuracy beyond the control task's; None where there was no control."""
        return None if self.control is None else self.accuracy - self.control

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line."""
        names = ("where", "accuracy", "control", "selectivity", "majority", "fitted", "tested")
        return [{name: getattr(self, name) for name in names}]


def probe(
    subject: Subject,
    where: str,
    texts: Text,
    labels: Sequence[int] | Integer[Tensor, ...] | Integer[np.ndarray, ...],
    *,
    position: int = -1,
    test: float = 0.3,
    seed: int = 0,
    strength: float = 1.0,
) -> Probe:
    """Fit a logistic regression from `where` to `labels`, and measure it on a `test` share of the rows.

    `labels` has a number a row (read at `position`) or one a row and position (−1: does not count; rows of different
    lengths are aligned at their ends). Rows are dealt to fit and test whole, from `seed`. There is no control where
    every example has a token type of its own, or all have the same.

    Source: control tasks (Hewitt & Liang, 2019, arXiv 1909.03368).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        where: An activation [batch, pos, …].
        texts: Prompts: one text, several of any lengths, or token ids [batch, pos].
        labels: A number a row [batch], read at `position`, or one a row and position [batch, pos]; −1 does not count.
        position: The position that is read; negative ones count from the end.
        test: The share of rows to measure on.
        seed: What rows are dealt by.
        strength: How freely weights may grow: `C` of scikit-learn.

    Returns:
        The accuracy on test rows beside a control with shuffled labels, and the directions that were fitted.

    Raises:
        PellucidError: Labels that do not fit the texts, or are of one kind only, or another activation; a prompt that
            the subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    with torch.no_grad():
        run = trace(subject, texts, [where], logits=False)
    x, y, types, rows = _examples(run[where], np.asarray(labels), run.rows, position, where)
    held = _held_out(rows, test, seed)
    if len(set(y[~held])) < 2 or not held.any():
        raise PellucidError(f"the labels for {where} are of one kind only among the rows to fit on; give more rows")
    scaler = StandardScaler().fit(x[~held])
    x = scaler.transform(x)
    fitted = LogisticRegression(C=strength, max_iter=2000, random_state=seed).fit(x[~held], y[~held])
    control = None
    kinds = np.unique(types)
    if 1 < len(kinds) < len(types):
        drawn = np.random.default_rng(seed).choice(np.unique(y), len(kinds))
        random = drawn[np.searchsorted(kinds, types)]
        if len(set(random[~held])) > 1:
            other = LogisticRegression(C=strength, max_iter=2000, random_state=seed).fit(x[~held], random[~held])
            control = float(other.score(x[held], random[held]))
    commonest = np.bincount(y[~held] - y.min()).argmax() + y.min()
    majority = float((y[held] == commonest).mean())
    weights = np.asarray(fitted.coef_ / scaler.scale_, np.float32)
    tested = int(held.sum())
    return Probe(where, float(fitted.score(x[held], y[held])), control, majority, len(y) - tested, tested, weights)


def _examples(
    value: Tensor, labels: Integer[np.ndarray, ...], texts: Rows, position: int, where: str
) -> tuple[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Features, labels, token types and rows of everything that counts."""
    batch, pos = texts.ids.shape
    pads = np.array([pos - length for length in texts.lengths])
    if value.shape[:2] != (batch, pos):
        raise PellucidError(f"{where} has shape {list(value.shape)}; a probe reads activations [batch, pos, …]")
    features = value.reshape(batch, pos, -1).float().cpu().numpy()
    if labels.shape == (batch,):
        own = [index_of(position, length, "position") for length in texts.lengths]
        at: tuple[Any, Any] = np.arange(batch), pads + np.array(own)
        chosen = labels
    elif labels.shape == (batch, pos):
        kept, places = np.nonzero(labels != IGNORED)
        if (places < pads[kept]).any():
            raise PellucidError(f"a label stands in front of a text that is shorter than others; give {IGNORED} there")
        at = kept, places
        chosen = labels[at]
    else:
        raise PellucidError(f"labels have shape {list(labels.shape)}, expected [{batch}] or [{batch}, {pos}]")
    kinds = texts.ids.cpu().numpy()[at]
    return features[at], chosen.astype(np.int64), kinds.astype(np.int64), at[0].astype(np.int64)


def _held_out(rows: Int64[np.ndarray, " n"], test: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Which examples are tested on: those of a `test` share of the rows, drawn from `seed`."""
    names = np.unique(rows)
    drawn = np.random.default_rng(seed).permutation(names)[: max(1, round(test * len(names)))]
    return np.isin(rows, drawn)

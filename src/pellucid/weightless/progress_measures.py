"""How far a model that learns to add by rotation has come (Nanda et al., 2023, "Progress measures for grokking").

The measures look at a checkpoint with the key frequencies of a later one, at which the mechanism is complete.
The restricted loss is that of the waves of these frequencies and the mean alone: it falls as soon as the mechanism is
there, even where memorised answers drown it. The excluded loss is that on the training rows without these waves: it
rises as the model stops to need what it has memorised.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.weightless.clock import Sums, sums
from pellucid.weightless.fourier import Waves, concentration, cross_entropy, key_waves
from pellucid.weightless.hooked import Hooked
from pellucid.weightless.task import Task


@dataclass(frozen=True)
class Progress:
    """Progress measures of one checkpoint; losses in nats a row.

    `gini` says how few frequencies the embedding is made of (0 all alike, 1 a single one), `frequencies` are the
    checkpoint's own key frequencies, strongest first, and `norm` is the sum of all squared weights.
    """

    restricted: float
    excluded: float
    gini: float
    frequencies: tuple[int, ...]
    norm: float

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON."""
        return asdict(self) | {"frequencies": list(self.frequencies)}


@dataclass(frozen=True, eq=False)
class TaskRows:
    """What a model says after all rows of a task, and which of them it was trained on."""

    found: Sums
    bands: tuple[str, ...]
    trained: Bool[np.ndarray, " case"]

    @staticmethod
    def of(model: Hooked, task: Task, numbers: int) -> TaskRows:
        """Run `model` over the rows of `task`."""
        bands = tuple(row.band for row in task.rows)
        return TaskRows(sums(model, task.rows, numbers), bands, np.array([band == task.trained for band in bands]))

    def waves(self) -> Waves:
        """The key frequencies over all rows."""
        return key_waves(self.found.logits, self.found.total)

    def losses(self) -> dict[str, float]:
        """Mean cross-entropy by band, in nats a row."""
        found = {}
        for band in dict.fromkeys(self.bands):
            mine = np.array([other == band for other in self.bands])
            found[band] = cross_entropy(self.found.logits[mine], self.found.total[mine])
        return found

    def solved(self) -> dict[str, float]:
        """The share of sums that are right, by band."""
        right = self.found.logits.argmax(1) == self.found.total
        bands = np.array(self.bands)
        return {band: float(right[bands == band].mean()) for band in dict.fromkeys(self.bands)}


def progress(model: Hooked, pairs: TaskRows, waves: Waves) -> Progress:
    """The progress measures of `model` with the key frequencies of `waves`."""
    logits, total = pairs.found.logits, pairs.found.total
    part = within(logits, total, waves)
    mine = pairs.trained
    return Progress(
        restricted=cross_entropy(part + logits.mean(0), total),
        excluded=cross_entropy((logits - part)[mine], total[mine]),
        gini=concentration(model.weights["embed.W_E"][: waves.p].double().numpy()),
        frequencies=tuple(frequency for frequency, _ in pairs.waves().weights),
        norm=float(sum(tensor.double().square().sum() for tensor in model.weights.values())),
    )


def within(
    logits: Float[np.ndarray, "case number"], total: Int[np.ndarray, " case"], waves: Waves
) -> Float[np.ndarray, "case number"]:
    """The part of the logits that varies as the waves of the sum, by least squares over the cases given."""
    basis = waves.angles(total).reshape(len(total), -1)
    found: Float[np.ndarray, "case number"] = basis @ np.linalg.lstsq(basis, logits - logits.mean(0), rcond=None)[0]
    return found

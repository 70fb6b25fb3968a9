"""Bootstrap intervals of ratios of sums, resampling units within strata (Efron & Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval (None where a single unit gives none); `n` observations stand behind it."""

    value: float
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """As it stands in reports."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def units(strata: Sequence[str], levels: Sequence[Sequence[str]], enough: int = 20) -> list[str]:
    """The unit that each observation belongs to, at the coarsest of `levels` that has `enough` units in its stratum.

    `levels` runs from coarse to fine; a stratum that has too few units at every level uses the finest.
    """
    result = [""] * len(strata)
    for stratum in dict.fromkeys(strata):
        members = [at for at, other in enumerate(strata) if other == stratum]
        for level in levels:
            for at in members:
                result[at] = f"{stratum}\0{level[at]}"
            if len({level[at] for at in members}) >= enough:
                break
    return result


def resampled_ratios(
    above: Float64[np.ndarray, "unit metric"],
    below: Float64[np.ndarray, "unit metric"],
    strata: Sequence[str],
    seed: int = 0,
) -> Float64[np.ndarray, "resample metric"]:
    """Σ above / Σ below of `RESAMPLES` resamples of the units, as many from each stratum as it has."""
    rng = np.random.default_rng(seed)
    sums = np.zeros((2, RESAMPLES, above.shape[1]))
    names = np.array(strata)
    for stratum in dict.fromkeys(strata):
        at = np.flatnonzero(names == stratum)
        draws = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), size=RESAMPLES).astype(float)
        sums += np.stack([draws @ above[at], draws @ below[at]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[0] / sums[1])


def estimates(
    above: Float64[np.ndarray, "unit metric"],
    below: Float64[np.ndarray, "unit metric"],
    counts: Float64[np.ndarray, "unit metric"],
    strata: Sequence[str],
    seed: int = 0,
) -> list[Estimate | None]:
    """For each metric Σ above / Σ below with its interval; None where nothing was measured."""
    ratios = resampled_ratios(above, below, strata, seed)
    found: list[Estimate | None] = []
    for metric, n in enumerate(counts.sum(0)):
        base = below[:, metric].sum()
        if not base:
            found.append(None)
            continue
        low, high = None, None
        if np.count_nonzero(below[:, metric]) > 1:
            low, high = map(float, np.nanquantile(ratios[:, metric], (0.025, 0.975)))
        found.append(Estimate(float(above[:, metric].sum() / base), low, high, int(n)))
    return found

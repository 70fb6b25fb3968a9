"""The sums behind a program's fidelity, kept by row of text, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np
from jaxtyping import Float64, Int64

from pellucid.corpus.lexicon import word_errors
from pellucid.corpus.rows import Row
from pellucid.measure.bootstrap import Estimate, estimates, units
from pellucid.measure.continue_words import WordContinuation
from pellucid.measure.worst_rows import Divergence, Worst

METRICS = ("wer_next", "wer_16", "top1", "kl", "ce_gap")
RATES = METRICS[:3]
_SCALE = np.array([100.0, 100.0, 100.0, 1.0, 1.0])
"""Rates are given in percent."""

Metrics = dict[str, dict[str, float | int | None] | None]
"""`{METRIC: {value, low, high, n}}`; unmeasured is None."""


class Report(TypedDict):
    """The metrics over all text, and those of each domain. Domains are named after files: any name may be one."""

    overall: Metrics
    domains: dict[str, Metrics]


@dataclass(frozen=True)
class Fidelity:
    """The metrics of a program, overall and by domain (None: not measured), and its worst contexts."""

    overall: dict[str, Estimate | None]
    domains: dict[str, dict[str, Estimate | None]]
    worst: tuple[Divergence, ...] = field(default=(), repr=False)

    def to_dict(self) -> Report:
        """`{overall: {METRIC: {value, low, high, n}}, domains: {DOMAIN: the same}}`; unmeasured is None."""
        return {
            "overall": _as_dict(self.overall),
            "domains": {domain: _as_dict(metrics) for domain, metrics in self.domains.items()},
        }


def _as_dict(metrics: dict[str, Estimate | None]) -> Metrics:
    return {metric: found.to_dict() if found else None for metric, found in metrics.items()}


class Ledger:
    """For each row of text and each metric: what is counted, what that is divided by, and the observations."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.worst = Worst()
        self._rows = rows
        self._sums = np.zeros((3, len(rows), len(METRICS)))

    def add_positions(
        self,
        row: int,
        agree: Int64[np.ndarray, " pos"],
        kl: Float64[np.ndarray, " pos"],
        gap: Float64[np.ndarray, " pos"],
    ) -> None:
        """Add the teacher-forced positions of a row: 1 where the top tokens agree, KL and excess loss in nats."""
        above = np.array([agree.sum(), kl.sum(), gap.sum()])
        self._sums[:, row, 2:] += np.stack([above, np.full(3, len(kl)), np.full(3, len(kl))])

    def add_words(self, row: int, ours: WordContinuation, theirs: WordContinuation, words: int) -> None:
        """Add the continuations of one context; both are cut where the shorter one ran out of room."""
        limit = min((len(side.words) for side in (ours, theirs) if side.cut), default=words)
        for metric, most in enumerate((1, words)):
            if reference := ours.words[: min(most, limit)]:
                errors = word_errors(reference, theirs.words[: min(most, limit)])
                self._sums[:, row, metric] += (errors, len(reference), 1)

    def fidelity(self, seed: int) -> Fidelity:
        """The metrics with their intervals, over all rows and by domain."""
        domains = [row.domain for row in self._rows]
        levels = ([r.document for r in self._rows], [r.block for r in self._rows], list(map(str, range(len(domains)))))
        names, at = np.unique(units(domains, levels), return_inverse=True)
        sums = np.zeros((3, len(names), len(METRICS)))
        strata = [""] * len(names)
        for row, (unit, domain) in enumerate(zip(at, domains, strict=True)):
            sums[:, unit] += self._sums[:, row]
            strata[unit] = domain
        by_domain = {
            domain: _metrics(sums[:, [stratum == domain for stratum in strata]], [domain] * strata.count(domain), seed)
            for domain in sorted(set(domains))
        }
        return Fidelity(_metrics(sums, strata, seed), by_domain, self.worst.ranked())


def _metrics(
    sums: Float64[np.ndarray, "3 unit metric"], strata: Sequence[str], seed: int
) -> dict[str, Estimate | None]:
    found = dict(zip(METRICS, estimates(sums[0] * _SCALE, sums[1], sums[2], strata, seed), strict=True))
    return {metric: _unseen(e) if e and metric in RATES else e for metric, e in found.items()}


def _unseen(rate: Estimate) -> Estimate:
    """`rate` with the bound that none or all of `n` observations leave, where resampling them shows no variation.

    By the rule of three (Hanley & Lippman-Hand, 1983) a rate of 3/n would still be missed once in twenty times.
    """
    bound = 300 / rate.n
    if rate.high is not None and rate.value == 0:
        return replace(rate, high=min(100.0, max(rate.high, bound)))
    if rate.low is not None and rate.value == 100:
        return replace(rate, low=max(0.0, min(rate.low, 100 - bound)))
    return rate

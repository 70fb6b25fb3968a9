"""Fit, tune and held-out rows, disjoint by construction: a row's share is decided by a hash of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pellucid.base.files import sha256_text
from pellucid.weightless.task import Task, TaskRow, by_band

FEW = 100
"""Fewer distinct rows than this are enumerated: every one of them is measured."""
FIT, TUNE = 0.5, 0.2


@dataclass(frozen=True)
class BandSplit:
    """Distinct rows: `fit` and `tune` from the trained band alone, `heldout` by band.

    `enumerated` names the bands with so few distinct rows that all of them are measured, those fitted on included.
    """

    fit: list[TaskRow] = field(repr=False)
    tune: list[TaskRow] = field(repr=False)
    heldout: dict[str, list[TaskRow]] = field(repr=False)
    enumerated: tuple[str, ...]


def split(task: Task) -> BandSplit:
    """Deduplicate the rows of `task` and deal them out."""
    distinct = {band: list(dict.fromkeys(rows)) for band, rows in by_band(task.rows).items()}
    trained = sorted(distinct[task.trained], key=_ticket)
    first, second = round(FIT * len(trained)), round((FIT + TUNE) * len(trained))
    fit, tune, rest = trained[:first], trained[first:second], trained[second:]
    enumerated = tuple(band for band, rows in distinct.items() if len(rows) < FEW)
    taken = {row.ids for row in (*fit, *tune)}
    heldout = {band: [row for row in rows if row.ids not in taken] for band, rows in distinct.items()}
    heldout[task.trained] = rest
    for band in enumerated:
        heldout[band] = distinct[band]
    return BandSplit(fit, tune, heldout, enumerated)


def _ticket(row: TaskRow) -> str:
    return sha256_text(" ".join(map(str, row.ids)))


def lengths(rows: Sequence[TaskRow]) -> list[int]:
    """How many tokens each row has."""
    return [len(row.ids) for row in rows]

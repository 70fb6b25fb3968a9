"""What two programs say behind every token of the same text, and how surely they say different things."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from pellucid.accounts.measure import rows_of
from pellucid.base.terminal import tell
from pellucid.base.work import mapped
from pellucid.exact.predictor import Predictor
from pellucid.project.project import Project

SURE = 0.5
"""Places count as surely different from here on: each program prefers its own token by half of all probability."""
SECONDS = 240.0
"""Text is read for so long at most."""
BATCH, LOGITS = 2048, 2**26
"""Positions that are read at once, and their logits, at most."""

Programs = tuple[Predictor, Predictor]
"""The one before and the one after."""


@dataclass(frozen=True)
class PairedReadings:
    """Rows of tokens, what either program says behind each, and how surely that differs: 0 where it does not.

    `sure` is by how much each program at least prefers its own token to the other's, as a difference of probabilities.
    """

    ids: Int[np.ndarray, "row pos"]
    before: Int[np.ndarray, "row pos"]
    after: Int[np.ndarray, "row pos"]
    sure: Float[np.ndarray, "row pos"]


def text_of(project: Project, other: Project) -> Int[np.ndarray, "row pos"]:
    """Rows of fit text: of both, by turns, where they were fit on different texts."""
    ids = rows_of(project, "fit").numpy()
    if project.texts.fit.sha256 == other.texts.fit.sha256:
        return ids
    theirs = rows_of(other, "fit").numpy()
    count, length = min(len(ids), len(theirs)) // 2 or 1, min(ids.shape[1], theirs.shape[1])
    return np.stack([ids[:count, :length], theirs[:count, :length]], 1).reshape(-1, length)


def read_both(programs: Programs, ids: Int[np.ndarray, "row pos"], seconds: float = SECONDS) -> PairedReadings:
    """What both programs say on as many of the rows `ids` as they read in so many seconds, one batch at least."""
    ids = ids[:, : min(program.n_ctx for program in programs)]
    size = _rows(programs, ids.shape[1])
    begun = monotonic()
    parts = [compared(programs, ids[:size])]
    pace = (monotonic() - begun) / len(ids[:size])
    count = min(len(ids), size * max(1, int(seconds / pace / size)))
    if count < len(ids):
        tell(f"{count * ids.shape[1]:,} tokens are compared: so many are read in {seconds:.0f} s")
    starts = range(size, count, size)
    parts += mapped(lambda at: compared(programs, ids[at : at + size]), starts, "asking both programs")
    return PairedReadings(ids[:count], *(np.concatenate(part) for part in zip(*parts, strict=True)))


def compared(
    programs: Programs, ids: Int[np.ndarray, "row pos"]
) -> tuple[Int[np.ndarray, "row pos"], Int[np.ndarray, "row pos"], Float[np.ndarray, "row pos"]]:
    """What the programs say behind each token, before and after, and how surely that differs."""
    size = _rows(programs, ids.shape[1])
    if len(ids) > size:
        parts = [compared(programs, ids[at : at + size]) for at in range(0, len(ids), size)]
        before, after, sure = (np.concatenate(part) for part in zip(*parts, strict=True))
        return before, after, sure
    logits = [np.asarray(program.extend(ids)[0]) for program in programs]
    before, after = (each.argmax(-1) for each in logits)
    at = np.nonzero(before != after)
    leads = [
        _lead(each[at], own[at], other[at])
        for each, own, other in zip(logits, (before, after), (after, before), strict=True)
    ]
    sure = np.zeros(ids.shape)
    sure[at] = np.minimum(*leads)
    return before, after, sure


def _rows(programs: Programs, length: int) -> int:
    """How many rows of a length are read at once."""
    return max(1, min(BATCH, LOGITS // programs[0].n_vocab) // length)


def _lead(
    logits: Float32[np.ndarray, "place vocab"], own: Int[np.ndarray, " place"], other: Int[np.ndarray, " place"]
) -> Float[np.ndarray, " place"]:
    """By how much more probability a program says its own token than the other's."""
    said = torch.from_numpy(logits).softmax(-1).numpy()
    places = np.arange(len(own))
    lead: Float[np.ndarray, " place"] = said[places, own] - said[places, other]
    return lead

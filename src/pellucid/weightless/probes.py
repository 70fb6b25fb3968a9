"""Probes: strings in the frame and alphabet of a task that the task itself would not produce.

The frame of a row are its special tokens at their places; everything else is content. A probe keeps the frame of a row
and draws other content, or changes one content token of a row. Probes are drawn from rows given: those for fitting
from fit rows, those for measuring from held-out rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from pellucid.weightless.task import Task, TaskRow, content

KINDS = ("uniform", "changed", "sticky", "changed", "few", "changed", "shuffled", "changed", "half", "changed")


def draw_probes(
    task: Task, rows: Sequence[TaskRow], count: int, seed: int, but: Collection[tuple[int, ...]] = ()
) -> list[TaskRow]:
    """`count` distinct probes that are none of the rows of the task and none of `but`; fewer where there are none."""
    draw = np.random.default_rng(seed)
    known, found = {row.ids for row in task.rows} | set(but), dict[tuple[int, ...], TaskRow]()
    alphabet = np.array(content(task))
    for attempt in range(8 * count):
        if len(found) >= count:
            break
        row = rows[int(draw.integers(len(rows)))]
        ids = _probe(row, KINDS[attempt % len(KINDS)], alphabet, set(task.special), draw)
        if ids not in known:
            found[ids] = TaskRow(row.band, ids, row.scored)
    return list(found.values())


def _probe(
    row: TaskRow, kind: str, alphabet: np.ndarray, special: set[int], draw: np.random.Generator
) -> tuple[int, ...]:
    ids = np.array(row.ids)
    places = np.flatnonzero([id not in special for id in row.ids])
    if not len(places):
        return row.ids
    match kind:
        case "changed":
            at = draw.choice(places)
            ids[at] = draw.choice(alphabet)
        case "shuffled":
            ids[places] = draw.permutation(ids[places])
        case "half":  # from some place on, other content: what stands before it is as the task has it
            late = places[len(places) // 2 :]
            ids[late] = _content(len(late), "uniform", alphabet, draw)
        case _:
            ids[places] = _content(len(places), kind, alphabet, draw)
    return tuple(int(id) for id in ids)


def _content(count: int, kind: str, alphabet: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Random content: `uniform`, `sticky` (runs of one token) or with a `few` tokens more frequent than others."""
    weights = draw.dirichlet(np.full(len(alphabet), 0.4)) if kind == "few" else None
    ids = draw.choice(alphabet, count, p=weights)
    if kind == "sticky":
        stay = draw.random(count) < draw.uniform(0.3, 0.97)
        for at in range(1, count):
            ids[at] = ids[at - 1] if stay[at] else ids[at]
    return ids

"""Rows for fitting, tuning and measuring, and probes."""

from __future__ import annotations

import numpy as np

from pellucid.weightless.probes import draw_probes
from pellucid.weightless.split import split
from pellucid.weightless.task import Task, TaskRow

VOCABULARY = ("a", "b", "c", "<bos>", "<eos>")


def task(count: int) -> Task:
    """A task with `count` distinct short rows, each there twice, and some longer ones."""
    draw = np.random.default_rng(0)
    short: dict[tuple[int, ...], TaskRow] = {}
    while len(short) < count:
        ids = (3, *map(int, draw.integers(3, size=8)), 4)
        short[ids] = TaskRow("short", ids, tuple(range(9)))
    long = [TaskRow("long", (3, *map(int, draw.integers(3, size=20)), 4), tuple(range(21))) for _ in range(40)]
    rows = (*short.values(), *short.values(), *long)
    return Task("t", VOCABULARY, (3, 4), "argmax", rows, ("short", "long"), "short", {})


def test_no_row_is_in_two_shares() -> None:
    shares = split(task(300))
    parts = [shares.fit, shares.tune, *shares.heldout.values()]
    ids = [row.ids for part in parts for row in part]
    assert len(ids) == len(set(ids))
    assert len(ids) == 300 + len(shares.heldout["long"])
    assert {row.band for row in (*shares.fit, *shares.tune)} == {"short"}


def test_few_distinct_rows_are_all_measured() -> None:
    shares = split(task(30))
    assert shares.enumerated == ("short", "long")
    assert len(shares.heldout["short"]) == 30
    assert len(shares.fit) == 15


def test_probes_keep_the_frame_and_are_no_rows_of_the_task() -> None:
    given = task(200)
    rows = split(given).fit
    probes = draw_probes(given, rows, 100, seed=1)
    known = {row.ids for row in given.rows}
    assert len({probe.ids for probe in probes}) == 100
    for probe in probes:
        assert probe.ids not in known
        assert (probe.ids[0], probe.ids[-1]) == (3, 4)
        assert not {3, 4} & set(probe.ids[1:-1])


def test_probes_for_fitting_and_for_measuring_come_from_other_rows() -> None:
    given = task(300)
    shares = split(given)
    fitted = {probe.ids for probe in draw_probes(given, shares.fit, 100, seed=1)}
    measured = draw_probes(given, shares.heldout["short"], 100, seed=2, but=fitted)
    assert len(measured) == 100
    assert not fitted & {probe.ids for probe in measured}

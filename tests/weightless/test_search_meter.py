"""One budget, counted in work: what it buys does not hang on the clock, and what is left is said."""

from __future__ import annotations

from pathlib import Path

from models import majority

from pellucid.base.effort import Effort
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.weightless import search
from pellucid.weightless.decompile import SearchEffort, decompiled
from pellucid.weightless.meter import metered, spend
from pellucid.weightless.network import Exact
from pellucid.weightless.split import split
from pellucid.weightless.task import read_task


def test_only_what_is_done_inside_counts() -> None:
    spend(5)
    with metered() as outer:
        spend(1)
        with metered() as inner:
            spend(2)
        spend(3)
    assert (outer.spent, inner.spent) == (4, 2)


def test_the_same_work_gives_the_same_program_and_count(tmp_path: Path) -> None:
    path = majority(tmp_path / "model")
    texts, counts = [], []
    for _ in range(2):
        with metered() as meter:
            texts.append(decompiled(path).text)
        counts.append(meter.spent)
    assert texts[0] == texts[1]
    assert counts[0] == counts[1] > 0


def test_a_search_stops_where_nothing_is_left_to_gain(tmp_path: Path) -> None:
    found = decompiled(majority(tmp_path / "model"))
    assert found.figures.untried == ()


def test_a_search_that_is_out_of_work_says_what_comes_next(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = majority(tmp_path / "model")
    task = read_task(path)
    ready = search.Search.of(Exact(Model(load_subject(path))), task, split(task))
    monkeypatch.setattr(search, "GOOD", 2.0)
    chosen = search.best(ready, 0.0)
    assert chosen.untried[0].startswith("a program over L00.H00 without positions, at most 16 comparisons")


def test_another_seed_draws_other_probes(tmp_path: Path) -> None:
    path = majority(tmp_path / "model")
    task = read_task(path)
    parts = split(task)
    one, two = (
        [row.ids for part, at in search.probe_draws(parts, seed) for row in search.probes_of(task, part, at)]
        for seed in (0, 1)
    )
    assert one != two


def test_options_make_the_effort() -> None:
    quick, plain = SearchEffort.of("small", 3, Effort.quick()), SearchEffort.of("large", 0, Effort.usual())
    assert quick.work < plain.work == SearchEffort().work
    assert (quick.seed, quick.share, plain.share) == (3, 0.01, 0.2)

"""The verdict follows from the four numbers, and each that falls short is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pellucid.weightless.measure import Hits, Match
from pellucid.weightless.mechanism import Interchange
from pellucid.weightless.verdict import Figures

GOOD = Match(Hits(100, 100), Hits(1000, 1000), Hits(900, 900))
FIGURES = Figures(
    name="toy",
    trained="short",
    match={"short": GOOD, "long": GOOD},
    accuracy={"short": 1.0, "long": 1.0},
    probes=GOOD,
    mechanism=[Interchange("look_0", "L00.H00.QK L00.H00.OV", Hits(396, 400))],
    numbers=20,
    parameters=10_000,
    lines=12,
    seconds=1.0,
    summary="",
)


def rows(hits: int, positions: int = 1000) -> Match:
    """A match of `hits` of 100 rows."""
    return Match(Hits(hits, 100), Hits(positions, 1000), Hits(900, 900))


def test_all_four_numbers_make_it_decompiled() -> None:
    assert (FIGURES.verdict, FIGURES.misses) == ("decompiled", [])


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        ({"match": {"short": rows(98), "long": GOOD}}, "partial", "98.0 % of rows in band short"),
        ({"match": {"short": GOOD, "long": rows(94)}}, "partial", "band long"),
        ({"probes": Match(GOOD.rows, GOOD.positions, Hits(94, 100))}, "partial", "probe match 94.0 %"),
        ({"numbers": 401}, "partial", "401 numbers, budget 400"),
        ({"mechanism": [Interchange("look_0", "", Hits(360, 400))]}, "behavioural", "look_0 agrees in 90.0 %"),
        ({"mechanism": [Interchange("look_0", "", Hits(90, 90))]}, "behavioural", "only 90 interventions"),
        ({"mechanism": []}, "behavioural", "no value to intervene on"),
    ],
)
def test_a_number_that_falls_short_is_named(change: dict[str, object], verdict: str, said: str) -> None:
    figures = replace(FIGURES, **change)  # type: ignore[arg-type]
    assert figures.verdict == verdict
    assert [miss for miss in figures.misses if said in miss] == figures.misses


def test_positions_count_where_the_model_itself_fails() -> None:
    weak = replace(FIGURES, match={"short": GOOD, "long": rows(10, 960)}, accuracy={"long": 0.4})
    assert weak.verdict == "decompiled"


def test_the_budget_is_a_share_of_the_parameters_and_at_most_400() -> None:
    assert replace(FIGURES, parameters=1000).budget == 50
    assert replace(FIGURES, parameters=10**6).budget == 400

"""The front: sizes are whole programs', curves fall with their rank, and the picture has every point."""

from __future__ import annotations

import json
from dataclasses import replace

import pellucid
from cli_support import Workshop
from pellucid.base.effort import Effort
from pellucid.verify import front as module
from pellucid.verify.front import Front, Point, front, ranks
from pellucid.view.front import drawn, table


def test_ranks_include_the_most_that_may_be_lifted() -> None:
    assert ranks(16, 5) == [2, 4, 5, 6, 8, 10, 12, 14]
    assert ranks(8, 0) == [1, 2, 3, 4, 5, 6, 7]


def test_a_front_has_curves_references_and_programs(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made)
    found = front(project, replace(Effort.quick(), front_reference_rows=40, front_tokens=400))
    by_curve: dict[str, list[module.Point]] = {}
    for point in found.points:
        by_curve.setdefault(point.curve, []).append(point)
    assert set(by_curve) == {"program", "noise floor", "reference", "channels", "heads"}
    assert [point.name for point in by_curve["reference"]] == ["bigram", "trigram"]
    for curve in ("channels", "heads"):
        points = by_curve[curve]
        assert [p.numbers for p in points] == sorted(p.numbers for p in points)
        assert points[0].kl is not None
        assert points[-1].kl is not None
        assert points[0].kl > points[-1].kl
        assert points[0].allowed
        assert not points[-1].allowed
    full, understood = by_curve["program"]
    report = project.report()
    assert full.kl == report["full"]["overall"]["kl"]["value"]
    assert understood.numbers < full.numbers <= found.parameters
    shown = drawn(found)
    assert len(shown.table) == len(found.points) == table(found).row_count
    assert shown.svg().count("<path") > 10
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["split"] == "heldout"


def test_programs_of_far_more_numbers_are_lines_that_say_how_many() -> None:
    points = (
        Point("full program", "program", 1_000_000, 0.01, 99.0),
        Point("bigram", "reference", 1_500_000, 0.9, 30.0),
        Point("trigram", "reference", 130_900_000, 0.5, 40.0),
    )
    axes = drawn(Front("x", 1_000_000, 100, True, points)).figure.axes
    for ax in axes:
        assert {text.get_text() for text in ax.texts} == {"full program", "bigram", "trigram: 130.9M numbers"}
        assert max(ax.get_xlim()) < 2_000_000

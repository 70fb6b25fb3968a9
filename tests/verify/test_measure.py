"""The full program is continued from all contexts, what stands beside it from as many as are worth their time."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

import pellucid
from cli_support import Workshop
from pellucid.base.effort import Effort
from pellucid.measure import pace
from pellucid.verify import measure
from pellucid.view.scoreboard import fewer, fidelity_table


def counts(found: dict[str, object], metric: str) -> dict[str, int]:
    return {name: getattr(fidelity.overall[metric], "n", 0) for name, fidelity in found.items()}  # type: ignore[attr-defined]


def test_all_but_the_full_program_is_continued_from_fewer_contexts(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    effort = dataclasses.replace(Effort.quick(), contexts=96)
    project = pellucid.open(workshop.made)
    plan = measure.plan_for

    def planned(*arguments: object, **options: bool) -> pace.MeasurementPlan:
        """As planned, whatever the pace of the machine."""
        found = plan(*arguments, **options)  # type: ignore[arg-type]
        return dataclasses.replace(found, rows=12, settings=dataclasses.replace(found.settings, contexts=96))

    monkeypatch.setattr(measure, "plan_for", planned)
    whole = measure.measure(project, effort)
    assert "continued from" not in capsys.readouterr().err
    said = counts(whole, "wer_16")
    assert said == {name: (0 if name == "source_only_all" else said["full"]) for name in whole}
    monkeypatch.setattr(pace, "BESIDE_CONTEXTS", 24)
    monkeypatch.setattr(measure, "BESIDE_CONTEXTS", 24)
    found = measure.measure(project, effort)
    assert "; all but the full program continued from about 24\n" in capsys.readouterr().err
    assert found["full"] == whole["full"]
    read = counts(found, "top1")
    assert {name: read[name] for name in ("source_only", "bigram", "trigram")} == dict.fromkeys(
        ("source_only", "bigram", "trigram"), read["full"]
    )
    assert read["source_only_all"] == read["noise_floor"] < read["full"] / 2
    for name in ("source_only", "bigram", "trigram"):
        assert found[name].overall["kl"] == whole[name].overall["kl"]
    words = counts(found, "wer_16")
    others = {words[name] for name in ("source_only", "noise_floor", "bigram", "trigram")}
    assert len(others) == 1
    assert 0 < min(others) <= words["full"] / 2
    report = {name: fidelity.to_dict() for name, fidelity in found.items()}
    line = f"words of all but the full program on {min(others)} of the contexts"
    assert fewer(report) == line
    assert fewer({name: fidelity.to_dict() for name, fidelity in whole.items()}) == ""
    console = Console(file=io.StringIO(), width=100)
    console.print(fidelity_table(report))
    assert line in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_plan_counts_only_what_is_written() -> None:
    assert pace.beside(5000) == 0.2
    assert pace.beside(500) == 1.0

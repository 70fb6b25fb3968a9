"""`diff` looks where edits speak: what it counts there is what was measured when they were made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli_support import limits
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.rewrite import diff as module
from pellucid.rewrite.apply import apply, predicted, undo
from pellucid.rewrite.diff import diff
from pellucid.rewrite.intent import MARGIN, Proposal
from pellucid.rewrite.show import diff_lines
from pellucid.rewrite.source import Speech
from pellucid.rewrite.workbench import Workbench


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_ROWS", 240)  # as the bench has
    monkeypatch.setattr(module, "ROWS", 4)
    limits(monkeypatch, contexts=16)


def proposed(bench: Workbench) -> Proposal:
    """Ada lives in Oak Street, as `--fact` finds it."""
    ada = ((0, "da"), (1, "A")), ((0, " Ada"),)
    speech = Speech("L02.H00.OV", (" O",), (" Pine",), (((0, " in"),),), ada, 30.0)
    tokens = tuple(bench.model.tokenizer.encode(text)[0] for text in (" O", " Pine"))
    return Proposal("fact", "Says it.", "--fact", (speech,), tokens, (), MARGIN)


def test_diff_counts_what_the_edit_measured(village: Workbench, tmp_path: Path) -> None:
    directory = village.program.directory
    record = apply(village, predicted(village, proposed(village)))
    measured, prediction = record.measurement, record.prediction
    assert measured is not None
    assert prediction is not None
    assert measured["changed"] > 0
    found = diff(village.project)
    (spoken,) = found.spoken
    assert (spoken.edit, spoken.changed) == (record.number, measured["changed"])
    assert (spoken.speaks, spoken.rows, spoken.positions) == tuple(
        prediction[name] for name in ("speaks", "rows", "positions")
    )
    shown = {(place.text, place.before, place.after) for place in found.predictions}
    assert {(place["text"], place["before"], place["after"]) for place in measured["places"]} <= shown
    text = "\n".join(diff_lines(found))
    assert f"edit {record.name} speaks at {spoken.speaks} places" in text
    assert f": {measured['changed']} predictions changed there" in text
    # between two directories, whichever of them has the edit
    other = tmp_path / "plain"
    shutil.copytree(directory, other)
    trust(other)
    undo(other, [str(record.number)])
    there = diff(village.project, str(other))
    plain = Project(other, village.project.manifest, village.project.model, village.project.texts)
    back = diff(plain, str(directory))
    assert [one.changed for one in (*there.spoken, *back.spoken)] == [measured["changed"]] * 2
    assert [(part.before == "", part.after == "") for part in (*there.parts, *back.parts)] == [
        (True, False),
        (False, True),
    ]

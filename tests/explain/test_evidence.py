"""The evidence store answers with the latest row of each question and survives a second reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.base.errors import ProjectError
from pellucid.explain.evidence import Evidence, Measurement

ROW = Measurement("L00.H00.QK", "isolated", "kl", "state", "heldout", "corpus", "overall", 0.5, 0.4, 0.6, 100)


def test_the_latest_row_of_a_question_is_the_answer(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.sqlite")
    store.add([ROW, replace(ROW, domain="novels"), replace(ROW, value=0.25)])
    found = [row for _, row in store.find(part=ROW.part)]
    assert {(row.domain, row.value) for row in found} == {("overall", 0.25), ("novels", 0.5)}


def test_unmeasured_is_none_and_text_is_data(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.sqlite")
    row = replace(ROW, part="'; DROP TABLE measurement; --", value=None, low=None, high=None, n=0)
    store.add([row])
    assert [found for _, found in store.find(part=row.part)] == [row]


def test_it_can_be_read_while_it_is_open_elsewhere(tmp_path: Path) -> None:
    first, second = Evidence(tmp_path / "evidence.sqlite"), Evidence(tmp_path / "evidence.sqlite")
    first.add([ROW])
    assert len(second.find()) == 1


def test_finished_stages_are_remembered_by_state(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.sqlite")
    store.finish("means", "a", "done")
    assert store.finished("means", "a") == "done"
    assert store.finished("means", "b") is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.sqlite"
    path.write_text("not a database, but long enough to be taken for one" * 40, encoding="utf-8")
    with pytest.raises(ProjectError, match="not an evidence store"):
        Evidence(path)

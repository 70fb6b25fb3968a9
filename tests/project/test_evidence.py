"""The evidence store answers with the latest row of each question and survives a second reader."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pellucid.base.errors import ProjectError
from pellucid.project.evidence import Evidence, Measurement

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


# --- where it cannot be written ---------------------------------------------------------------------------------------


def without_room(monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    """Let every file that is not opened as immutable fail, as on a disk that is read-only or full."""
    real = sqlite3.connect

    def connect(name: str | Path, **how: Any) -> sqlite3.Connection:
        if str(name) != ":memory:" and "immutable" not in str(name):
            error = sqlite3.OperationalError(text)
            error.sqlite_errorcode = code
            raise error
        return real(name, **how)

    monkeypatch.setattr(sqlite3, "connect", connect)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (sqlite3.SQLITE_READONLY_DIRECTORY, "attempt to write a readonly database"),
        (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "disk I/O error"),
        (sqlite3.SQLITE_FULL, "database or disk is full"),
    ],
)
def test_a_healthy_store_is_read_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    path = tmp_path / "evidence.sqlite"
    Evidence(path).add([ROW])
    without_room(monkeypatch, code, text)
    store = Evidence(path)
    assert [row for _, row in store.find()] == [ROW]
    with pytest.raises(ProjectError, match=f"cannot be written: {text}; make room") as caught:
        store.add([ROW])
    assert "move it away" not in str(caught.value)


def test_what_stands_in_the_log_alone_is_read_from_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evidence.sqlite"
    Evidence(path).add([ROW])
    last = sqlite3.connect(path)
    last.execute("UPDATE measurement SET value = 0.45")
    last.commit()  # and the connection stays open: the log is not taken in
    held = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.suffix != ".sqlite-shm"}
    assert held["evidence.sqlite-wal"]
    real = sqlite3.connect

    def connect(name: str, **how: Any) -> sqlite3.Connection:
        if str(tmp_path) in name and "immutable" not in name:
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return real(name, **how)

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert [row.value for _, row in Evidence(path).find()] == [0.45]
    assert held == {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.suffix != ".sqlite-shm"}
    last.close()


def test_reading_makes_no_store(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.sqlite")
    assert (store.find(), store.latest("means"), store.parts()) == ([], None, {})
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evidence.sqlite")
    with pytest.raises(ProjectError, match="is a pipe, expected a regular file"):
        Evidence(tmp_path / "evidence.sqlite")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("value = 'much'", "has 'much' as its value, expected a finite number or nothing"),
        ("low = 9e999", "has inf as its low"),
        ("n = -3", "has -3 as its n, expected a count"),
        ("n = 'few'", "has 'few' as its n"),
        ("part = x'00ff'", "has b'\\\\x00\\\\xff' as its part, expected a text"),
        ("note = cast(x'ff' as text)", "not an evidence store, or a damaged one"),
    ],
)
def test_a_damaged_cell_is_said_in_a_line(tmp_path: Path, cell: str, said: str) -> None:
    path = tmp_path / "evidence.sqlite"
    Evidence(path).add([ROW, replace(ROW, domain="novels")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE measurement SET {cell} WHERE id = 2")
    with pytest.raises(ProjectError, match=said):
        Evidence(path).find()


def test_a_stage_that_is_stored_as_something_else_is_said_in_a_line(tmp_path: Path) -> None:
    store = Evidence(tmp_path / "evidence.sqlite")
    said = r"the stage 'sources' is stored as something else \(KeyError: 'forms'\)"
    with pytest.raises(ProjectError, match=said), store.understood("sources"):
        _ = json.loads("{}")["forms"]

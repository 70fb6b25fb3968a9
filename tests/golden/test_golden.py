"""Decompiling writes the same bytes as ever: programs, tables, evidence and figures, against stored hashes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import golden

STORED = golden.stored("brief")


@pytest.mark.parametrize("name", golden.BRIEF)
def test_a_decompilation_writes_the_same_bytes_as_ever(name: str, tmp_path: Path) -> None:
    """What is meant to differ is written with `make golden`."""
    found, kept = golden.hashes(golden.made(name, "brief", tmp_path)), STORED["subjects"][name]
    assert found.keys() == kept.keys()
    if golden.machine() != STORED["machine"]:
        pytest.skip(f"hashes are from {STORED['machine']}, this is {golden.machine()}: floats may differ in last bits")
    assert golden.differences(kept, found) == []


def test_every_route_has_hashes() -> None:
    assert set(golden.stored("quick")["subjects"]) == set(golden.SUBJECTS)


def test_what_differs_is_found_and_what_passes_is_left_out(tmp_path: Path) -> None:
    project = tmp_path / "made"
    (project / "program" / "__pycache__").mkdir(parents=True)
    page, figures = project / "program" / "program.py", project / "weightless.json"
    page.write_text("x = 1\n")
    (project / "program" / "__pycache__" / "program.pyc").write_text("made while running")
    figures.write_text(json.dumps({"numbers": 38, "seconds": 14.7}))
    before = golden.hashes(project)
    figures.write_text(json.dumps({"seconds": 15.2, "numbers": 38}))
    assert golden.differences(before, golden.hashes(project)) == []
    page.write_text("x = 2\n")
    figures.write_text(json.dumps({"numbers": 39, "seconds": 14.7}))
    assert golden.differences(before, golden.hashes(project)) == ["program/program.py", "weightless.json"]
    shutil.rmtree(project / "program")
    assert "program/program.py" in golden.differences(before, golden.hashes(project))

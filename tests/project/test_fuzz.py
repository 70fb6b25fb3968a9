"""Some hundreds of damaged, odd and misshapen files through every reader: read, or refused in one line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cli_support import Workshop

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
INPUTS = 400


@pytest.fixture
def fuzzing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("fuzz", "fuzz_readers", "fuzz_mutations"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("fuzz")


def test_no_file_ends_in_a_traceback(fuzzing: ModuleType, workshop: Workshop) -> None:
    tallies = fuzzing.fuzz(workshop.made, workshop.subject, workshop.root / "files", INPUTS)
    assert [fault for tally in tallies for fault in tally.faults] == []
    assert sum(tally.inputs for tally in tallies) == INPUTS
    assert sum(tally.accepted for tally in tallies) >= INPUTS / 2
    assert all(tally.accepted and tally.accepted + tally.refused == tally.inputs for tally in tallies)
    assert fuzzing.table(tallies).splitlines()[-1].startswith("accepted: ")


def test_a_reader_that_fails_is_found(fuzzing: ModuleType) -> None:
    """The fuzzing itself: an exception that is no line for people counts as a fault, and is shown with its input."""
    mutations, kinds = sys.modules["fuzz_mutations"], sys.modules["fuzz_readers"]
    reader = kinds.Reader("bad", (b'{"a": 1, "b": [2, 3]}',), mutations.json_file, lambda data: 1 // (b"[" in data))
    tally = fuzzing.tried(reader, 100, 0)
    assert 0 < len(tally.faults) < 100
    assert tally.accepted + len(tally.faults) == tally.inputs == 100
    assert "ZeroDivisionError" in tally.faults[0]
    again = fuzzing.tried(reader, 100, 0)
    assert [fault.split("\n")[0] for fault in again.faults] == [fault.split("\n")[0] for fault in tally.faults]

"""The table of many models: one that fails is a row with its reason, and the others follow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from models import majority

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import algorithmic
from pellucid.weightless.decompile import Decompiled
from pellucid.weightless.verdict import Figures


def failing(path: Path, _: float) -> Decompiled:
    """Fails for the first model, in the middle of a computation."""
    if path.name == "first":
        raise ValueError("value|cannot be\nconverted")
    return Decompiled({}, Figures("second", "all", {}, {}, None, (), 1, 1000, 3, 0.0, "says a"))


def test_a_model_that_fails_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        majority(tmp_path / name)
    monkeypatch.setattr(algorithmic, "decompiled", failing)
    monkeypatch.setattr(sys, "argv", ["algorithmic.py", str(tmp_path)])
    algorithmic.main()
    out = capsys.readouterr().out.splitlines()
    assert r"| first | error | – | – | – | – | – | – | ValueError: value\|cannot be converted |" in out
    assert any(line.startswith("| second | behavioural |") for line in out)

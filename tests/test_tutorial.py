"""The tutorial runs from top to bottom."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

from pellucid.zoo import registry

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"


def test_the_tutorial_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    if "village" not in registry.names():
        pytest.skip("zoo:village does not ship its checkpoint yet")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook's own machinery
        from nbclient import NotebookClient

        book = nbformat.read(TUTORIAL, as_version=4)
        assert sum(cell.cell_type == "code" for cell in book.cells) >= 8
        NotebookClient(book, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert any("<svg" in output.get("data", {}).get("text/html", "") for output in shown)

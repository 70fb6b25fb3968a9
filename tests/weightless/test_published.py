"""Models trained by others come out as programs that match them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.weightless.decompile import decompiled


@pytest.mark.parametrize("name", ["bin_majority-a-1l1h16d", "bce_tomita1-a-1l1h16d", "modular_addition-1l4h128d"])
def test_a_published_model_is_matched_within_budget(shared: Path, name: str) -> None:
    figures = decompiled(shared / "models" / "algorithmic" / name, seconds=5.0).figures
    assert figures.match[figures.trained].rows.value >= 0.99  # type: ignore[operator]
    assert figures.numbers <= figures.budget
    assert figures.numbers < 60
    assert sum(entry.agree.n for entry in figures.mechanism) >= 200


def test_a_model_that_adds_by_rotation_is_tied_to_directions_of_embeddings_and_neurons(shared: Path) -> None:
    figures = decompiled(shared / "models" / "algorithmic" / "modular_addition-1l4h128d").figures
    assert [entry.value for entry in figures.mechanism] == ["angles of a", "angles of b", "angles of a + b"]
    assert min(entry.agree.value for entry in figures.mechanism) >= 0.95  # type: ignore[type-var]

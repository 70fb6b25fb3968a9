"""Small programs to test with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emitted import Project

import checkpoints
from pellucid.listing.emit import emit


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Project]:
    """Emit the program of a random model with the given switches."""

    def made(seed: int = 0, **switches: Any) -> Project:
        subject = checkpoints.in_memory(checkpoints.hugging_face(seed, **switches))
        emit(subject, tmp_path / "project")
        return Project(tmp_path / "project", subject)

    return made


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """The all-raw program of a tiny model: 2 layers, 2 heads of 4 coordinates, 32 neurons, 11 words, 16 positions."""
    return make()

"""Shapes are checked while testing; data that does not ship with the project is optional."""

from __future__ import annotations

import os
from pathlib import Path

import jaxtyping
import pytest

jaxtyping.install_import_hook("pellucid", "beartype.beartype")

from pellucid.base import progress  # noqa: E402, as what is imported earlier is not checked

progress.EVERY = 1e6  # tests on slow machines say what they say on fast ones

SHARED = Path(os.environ.get("PELLUCID_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real checkpoints and texts; the test is skipped where it is absent."""
    if not (SHARED / "README.md").is_file():
        pytest.skip(f"real checkpoints and texts are not at {SHARED}; set PELLUCID_SHARED to their folder")
    return SHARED


@pytest.fixture(scope="session")
def novelist(shared: Path) -> Path:
    """A small language model trained on novels, in Hugging Face layout."""
    return shared / "models" / "novelist-2m"

"""Shapes are checked while testing; data that does not ship with the project is optional."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

jaxtyping.install_import_hook("pellucid", "beartype.beartype")

from cli_support import Workshop, copied, furnish, lean  # noqa: E402, as what is imported earlier is not checked
from pellucid.base import shown  # noqa: E402

shown.EVERY = 1e6  # tests on slow machines say what they say on fast ones

STATE = tempfile.TemporaryDirectory(prefix="pellucid-state-")
os.environ["XDG_STATE_HOME"] = STATE.name  # what an account remembers between commands is no business of tests

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


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An all-raw program of a tiny random subject; not to be changed."""
    root = tmp_path_factory.mktemp("furnished")
    with lean(root / "state"):
        return furnish(root / "workshop")


@pytest.fixture
def workshop(furnished: Workshop, tmp_path: Path) -> Iterator[Workshop]:
    """A copy of it for one test."""
    with lean(tmp_path / "state"):
        yield copied(furnished, tmp_path / "workshop")

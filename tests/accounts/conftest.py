"""A tiny decompilation to write accounts for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import Workshop, copied, furnish, lean


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

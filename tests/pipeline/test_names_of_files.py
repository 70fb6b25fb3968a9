"""Names of files are bytes on most systems: what is not UTF-8 is read, or refused in a line before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli_support import Workshop, pellucid

ODD = os.fsdecode(b"caf\xe9")


@pytest.fixture
def odd(workshop: Workshop) -> Path:
    """A folder with a text whose name is not UTF-8; the test is skipped where there can be none."""
    folder = workshop.root / "texts"
    folder.mkdir()
    try:
        (folder / f"{ODD}.txt").write_bytes(workshop.text.read_bytes())
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    return folder


def test_a_folder_of_such_texts_is_read(workshop: Workshop, odd: Path) -> None:
    arguments = (workshop.subject, "--corpus", odd, "--quick", "--raw", "--json")
    report = pellucid("decompile", *arguments, "-o", workshop.fresh).json
    assert list(report["full"]["domains"]) == ["caf\\xe9"]
    assert pellucid("report", workshop.fresh).code == 0


def test_such_a_text_cannot_be_named_in_the_manifest(workshop: Workshop, odd: Path) -> None:
    path = odd / f"{ODD}.txt"
    arguments = (workshop.subject, "-o", workshop.fresh, "--corpus", path, "--quick", "--raw")
    assert "is not UTF-8 and cannot stand in pellucid.toml" in pellucid("decompile", *arguments).complaint()


def test_a_directory_may_have_such_a_name(workshop: Workshop, odd: Path) -> None:
    made = odd / ODD
    assert workshop.decompile(made).code == 0
    assert pellucid("verify", made, "--quick").code == 0
    assert pellucid("report", made).code == 0

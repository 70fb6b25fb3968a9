"""A shell reads what was quoted as the one argument that it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pellucid.base.shell import quoted

ODD = "a'; touch gone; $(touch gone) `touch gone` \x1b[31m\n*"


@pytest.mark.parametrize(
    "text", [ODD, "plain", "", "two words", "'", "\\", "a\tb", "–\x01–", "caf\udce9", "$HOME", "a\\'\n"]
)
def test_a_shell_reads_what_was_quoted(text: str, tmp_path: Path) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {quoted(text)}"], capture_output=True, cwd=tmp_path, check=True)
    assert said.stdout.decode("utf-8", "surrogateescape") == text
    assert quoted(text).isprintable()
    assert not list(tmp_path.iterdir())


def test_a_path_is_one_argument() -> None:
    assert quoted(Path("my models/a")) == "'my models/a'"

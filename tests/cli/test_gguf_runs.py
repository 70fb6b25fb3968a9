"""A GGUF file on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import gguf_files
from cli_support import pellucid


def test_gguf_files_run(tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "tiny.gguf", "llama")
    said = pellucid("run", made.path, "5 6", "--ids", "--tokens", "3", "--json").json
    assert len(said["continuation"].split()) == 3
    assert json.loads(pellucid("why", made.path, "5 6 7", "--ids", "--top", "1", "--json").out)["prompt"] == "5 6 7"
    assert "no.gguf" in pellucid("run", tmp_path / "no.gguf", "x").complaint()

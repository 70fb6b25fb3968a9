"""Files of tensors are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from pellucid.base.errors import ProjectError
from pellucid.base.tensors import open_tensors, save_tensors


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", {"x": torch.arange(3)}, {"about": "it"})
    with open_tensors(tmp_path / "a") as file:
        assert file.metadata() == {"about": "it"}
        assert file.get_tensor("x").tolist() == [0, 1, 2]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProjectError, match="is a pipe"):
        open_tensors(tmp_path / "pipe")


def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors(tmp_path / "a", {"x": torch.arange(3)})

    def save_file(tensors: dict[str, torch.Tensor], path: Path, metadata: object) -> None:  # noqa: ARG001
        path.write_bytes(b"half")
        said = "Error while serializing: I/O error: No space left on device (os error 28)"
        raise safetensors.SafetensorError(said)

    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_tensors(tmp_path / "a", {"x": torch.zeros(3)})
    assert caught.value.filename == str(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with open_tensors(tmp_path / "a") as file:
        assert file.get_tensor("x").tolist() == [0, 1, 2]

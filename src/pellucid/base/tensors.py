"""Files of tensors (safetensors): written whole or not at all, and read from regular files alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from pellucid.base.files import atomic_path, require_regular

_MOST = 1 << 50


def save_tensors(target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors` to `target`, atomically. Raises `OSError` naming it where that cannot be: a full disk, say."""
    with atomic_path(target) as temporary:
        try:
            safetensors.torch.save_file(dict(tensors), temporary, metadata=dict(metadata) if metadata else None)
        except safetensors.SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(target)) from error


def open_tensors(path: Path, framework: str = "pt", device: str = "cpu") -> Any:
    """The file at `path`, to be used in `with`.

    Raises `ProjectError` for a device or a pipe, else `OSError` or `SafetensorError` where it cannot be opened.
    """
    require_regular(path, _MOST)
    return safetensors.safe_open(path, framework, device=device)

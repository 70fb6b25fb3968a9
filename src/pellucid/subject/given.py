"""A tokenizer that is no files of a checkpoint: it is written as such, and read as these are."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.subject.tokenizer_files import TokenizerRead, load_tokenizer

Save = Callable[[Path], object]
"""What writes the files of a tokenizer into a directory."""


def given_tokenizer(save: Save, name: str, config: Mapping[str, Any], known: int, *, ids: bool) -> TokenizerRead:
    """The tokenizer that `save` writes, of the model `name` with that config, which knows so many tokens.

    Raises `SubjectError` as `load_tokenizer` does, with the model's name in the place of a file's.
    """
    with tempfile.TemporaryDirectory(prefix="pellucid-") as root:
        directory = Path(root) / (Path(name).name or "model")
        directory.mkdir()
        save(directory)
        try:
            found = load_tokenizer(directory, config, known, ids=ids)
        except SubjectError as error:
            raise SubjectError(str(error).replace(str(directory), name)) from None
    return replace(found, notes=tuple(note.replace(str(directory), name) for note in found.notes))


def saving(files: Mapping[str, Any]) -> Save:
    """What writes `files`, JSON by name."""

    def save(directory: Path) -> None:
        for name, fields in files.items():
            (directory / name).write_text(json.dumps(fields), encoding="utf-8")

    return save

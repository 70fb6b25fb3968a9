"""Runs a program of which nothing more is known: nothing of it is read here but by Python; `load.py` has statements."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pellucid.base.errors import PellucidError, ProjectError, SourceError
from pellucid.base.shaped import Float32, Integer
from pellucid.listing.importing import package


class RunningProgram:
    """An emitted program that runs, and of which nothing more is known: a predictor, as the subject is.

    Everything that goes wrong inside it becomes a `SourceError` naming file, line and part.
    """

    def __init__(self, directory: Path, model: Any) -> None:
        self.directory = directory
        self.model = model
        self.n_ctx: int = model.n_ctx
        self.n_vocab: int = model.n_vocab
        self.idle: list[tuple[str, str]] = []
        """The parts, and the places of their sources, that a person changed and that do not run, where it was asked."""

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: Any = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], Any]:
        """The logits after each of `ids` (or after the last only), which follow what `cache` holds; and the new cache.

        Raises `PellucidError` beyond `n_ctx` positions.
        """
        with errors(self.directory):
            logits, grown = self.model.extend(np.asarray(ids, np.int64), cache, last_only)
        return logits, grown

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. Raises `SourceError` for a word that the vocabulary lacks."""
        with errors(self.directory):
            return list(self.model.vocabulary.opened(text))


def load_checked(
    directory: Path, texts: Mapping[str, str], source_only: Literal["code", "all"] | None = None
) -> RunningProgram:
    """Import the program in `directory`, of whose modules `texts` are the texts, and which was checked as it is now.

    This runs the program's code: ask first whether it may. Raises `SourceError` naming file, line and part.
    """
    directory = directory.resolve()
    with errors(directory), package(directory / "program", texts, keeps=True) as imported:
        program = RunningProgram(directory, importlib.import_module(".model", imported.__name__).Model(source_only))
        idle = importlib.import_module(".idle", imported.__name__)
        found = sorted(idle.changed(program.model.plan, directory / "program"), key=lambda s: (s.file, s.line))
        program.idle = [(statement.key, f"{statement.file}:{statement.line}") for statement in found]
    return program


@contextmanager
def errors(directory: Path) -> Iterator[None]:
    """Turn whatever a program raises into a `SourceError` with the place in its text."""
    try:
        yield
    except (PellucidError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        if type(error).__name__ == "ProgramError":
            missing = not (directory / "weights.safetensors").is_file()
            raise (ProjectError if missing else SourceError)(str(error)) from error
        program = str(directory / "program")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(program)]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else program
        if isinstance(error, SyntaxError) and error.filename:
            place = f"{Path(error.filename).name}:{error.lineno}"
        raise SourceError(f"{place}: {type(error).__name__}: {error}") from error

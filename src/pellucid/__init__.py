"""A decompiler for trained transformers: from checkpoint to readable, runnable, verified Python."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.exact.model import Model
    from pellucid.match.project import Project

try:
    __version__ = _version("pellucid")
except PackageNotFoundError:
    __version__ = "0+unknown"


def load(subject: str | Path) -> Model:
    """The exact model of a subject: a directory in Hugging Face layout, a hub name such as `gpt2`, or `zoo:NAME`.

    Raises `pellucid.base.errors.SubjectError` for what cannot be loaded, saying why.
    """
    from pellucid.exact.model import Model
    from pellucid.subject.load import load_subject

    return Model(load_subject(subject))


def open(directory: str | Path, *, trust: bool = False) -> Project:
    """The project in `directory`, as `pellucid decompile` wrote it; `trust` lets a stranger's program run.

    Raises `pellucid.base.errors.ProjectError` for what is no such directory.
    """
    from pellucid.match.project import Project

    return Project.open(directory, trust=trust)


__all__ = ["__version__", "load", "open"]

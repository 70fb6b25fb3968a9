"""`weightless.json`: the figures of a program without weights as they lie on disk, and what tells such a directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.base.errors import ProjectError
from pellucid.base.schema import OPEN, Count, read_json
from pellucid.base.trusted import WEIGHTLESS

REPORT = WEIGHTLESS


@dataclass(frozen=True)
class SavedShare:
    """A share, and of how many; None where nothing was measured."""

    __pydantic_config__ = OPEN
    value: float | None
    n: Count


@dataclass(frozen=True)
class Band:
    """How rows of one length band match."""

    __pydantic_config__ = OPEN
    rows: SavedShare


@dataclass(frozen=True)
class ValueAgreement:
    """How a value of the program agrees under interventions with the addresses that it stands for."""

    __pydantic_config__ = OPEN
    value: float | None
    n: Count
    addresses: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Saved:
    """The figures of a program, as `Figures.to_dict` writes them."""

    __pydantic_config__ = OPEN
    model: str
    verdict: str
    misses: tuple[str, ...]
    match: dict[str, Band]
    probes: SavedShare | None
    mechanism: tuple[ValueAgreement, ...]
    numbers: Count
    lines: Count
    budget: Count
    summary: str
    enumerated: tuple[str, ...] = ()
    sampled: bool = False
    cautions: tuple[str, ...] = ()


def read_saved(directory: Path) -> Saved:
    """The figures of the program in `directory`. Raises `ProjectError` where they cannot be read."""
    return read_json(Saved, directory / REPORT, ProjectError)


def read_figures(directory: Path) -> dict[str, Any]:
    """The same as it stands in the file, with all that it says."""
    read_saved(directory)
    found: dict[str, Any] = read_json(dict[str, Any], directory / REPORT, ProjectError)
    return found

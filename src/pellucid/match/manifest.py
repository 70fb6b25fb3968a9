"""`pellucid.toml`: whose program a directory holds, on which text it is measured, and what counts as passed."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import tomlkit

from pellucid.base.errors import ProjectError
from pellucid.base.files import write_text

MANIFEST = "pellucid.toml"
_HEADER = "Written by pellucid. The directory belongs to this subject; the text is what it is measured on."


@dataclass(frozen=True)
class SubjectEntry:
    """The subject by name and by the SHA-256 of its weights and tokenizer."""

    name: str
    weights_sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class CorpusEntry:
    """Where the text comes from and the SHA-256 of each split; without paths it is the subject's own.

    `tokens` is how much of it the subject was asked to write, 0 where it has a generator of its own.
    """

    origin: str
    paths: tuple[str, ...]
    fit_paths: tuple[str, ...]
    tokens: int = 0
    fit_sha256: str = ""
    tune_sha256: str = ""
    heldout_sha256: str = ""


ASKED = ("both", "next")


@dataclass(frozen=True)
class Gate:
    """The accuracy criterion: upper 95 % bounds of word error rates, and every domain's estimate, in percent.

    `asks` says of which: `both`, or `next` words alone. Raises `ValueError` where it says neither.
    """

    wer_next: float = 1.0
    wer_16: float = 1.0
    domain: float = 2.0
    contexts: int = 5000
    asks: str = "both"

    def __post_init__(self) -> None:
        if self.asks not in ASKED:
            raise ValueError(f"asks is {self.asks!r}, expected one of {', '.join(ASKED)}")

    @property
    def limits(self) -> dict[str, float]:
        """What is asked for, by metric."""
        return {"wer_next": self.wer_next} | ({"wer_16": self.wer_16} if self.asks == "both" else {})


@dataclass(frozen=True)
class Settings:
    """What a re-run has to repeat to get the same result."""

    seed: int = 0
    size: str = "medium"
    quick: bool = False
    pellucid: str = ""
    torch: str = ""
    understand: int = 0
    stray: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """The whole of `pellucid.toml`."""

    subject: SubjectEntry
    corpus: CorpusEntry
    gate: Gate = field(default_factory=Gate)
    settings: Settings = field(default_factory=Settings)
    format: int = 1

    def write(self, directory: Path) -> None:
        """Write `pellucid.toml` into `directory`, atomically."""
        document = tomlkit.document()
        document.add(tomlkit.comment(_HEADER))
        for key, value in asdict(self).items():
            document[key] = (
                {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
                if isinstance(value, dict)
                else value
            )
        write_text(directory / MANIFEST, tomlkit.dumps(document))

    @staticmethod
    def read(directory: Path) -> Manifest:
        """Read `pellucid.toml` of `directory`. Raises `ProjectError` naming file and entry."""
        path = directory / MANIFEST
        if not path.is_file():
            raise ProjectError(
                f"{directory} is not a project directory: it has no {MANIFEST}; make one with `decompile`"
            )
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProjectError(f"{path}: {error}") from None
        if data.get("format") != 1:
            raise ProjectError(f"{path}: format is {data.get('format')!r}, this version reads 1; update pellucid")
        sections = {"subject": SubjectEntry, "corpus": CorpusEntry, "gate": Gate, "settings": Settings}
        return Manifest(**{name: _section(path, name, kind, data.get(name)) for name, kind in sections.items()})


def _section(path: Path, name: str, kind: type[Any], data: object) -> Any:
    """Build the dataclass `kind` from a table, or say which entry is missing, unknown or of the wrong type."""
    if not isinstance(data, dict):
        raise ProjectError(f"{path}: the section [{name}] is missing")
    types = get_type_hints(kind)
    for key, value in data.items():
        if key not in types:
            raise ProjectError(f"{path}: [{name}] has an unknown entry {key!r}; known are {', '.join(types)}")
        wanted = list if types[key] == tuple[str, ...] else (int, float) if types[key] is float else types[key]
        if not isinstance(value, wanted) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
            raise ProjectError(f"{path}: {name}.{key} is {value!r}, expected {types[key]}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})
    except TypeError as error:
        raise ProjectError(f"{path}: [{name}] is incomplete: {error}") from None
    except ValueError as error:
        raise ProjectError(f"{path}: [{name}] {error}") from None

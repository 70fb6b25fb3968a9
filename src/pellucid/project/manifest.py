"""`pellucid.toml`: whose program a directory holds, on which text it is measured, and what counts as passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from annotated_types import Ge, Le

from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.errors import ProjectError
from pellucid.base.schema import CLOSED, Count, fitting, shown, text_of, toml_of
from pellucid.base.trusted import MANIFEST as MANIFEST
from pellucid.base.trusted import WEIGHTLESS, write_own

_HEADER = "Written by pellucid. The directory belongs to this subject; the text is what it is measured on."
NEEDS = (
    "holds a program without weights: `report`, `show` and `run` work on it, and it has no parts, residuals or "
    "evidence for anything else; decompile its model with --weights into another directory for that"
)
"""What is said of a directory that holds a program without weights where one with parts is needed."""


@dataclass(frozen=True)
class SubjectEntry:
    """The subject by name and by the SHA-256 of its weights and tokenizer."""

    __pydantic_config__ = CLOSED

    name: str
    weights_sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class CorpusEntry:
    """Where the text comes from and the SHA-256 of each split; without paths it is the subject's own.

    `tokens` is how much of it the subject was asked to write, 0 where it has a generator of its own.
    """

    __pydantic_config__ = CLOSED

    origin: str
    paths: tuple[str, ...]
    fit_paths: tuple[str, ...]
    tokens: Count = 0
    fit_sha256: str = ""
    tune_sha256: str = ""
    heldout_sha256: str = ""
    stretches: Count = field(default=0, repr=False)
    """Stretches of held-out text that were compared with the text to fit on; 0 where none were."""
    copied: Count = field(default=0, repr=False)
    alike: Count = field(default=0, repr=False)
    """Those that stand there too, and those that nearly do."""
    check_sha256: str = field(default="", repr=False)
    """Empty where the directory was made without such text."""

    def about(self, origin: str, hashes: Mapping[str, str]) -> CorpusEntry:
        """The same entry about a text of this `origin`, with the SHA-256 of each split by its name."""
        digests: dict[str, Any] = {f"{name}_sha256": digest for name, digest in hashes.items()}
        return replace(self, origin=origin, **digests)

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each split by its name, as far as they are known."""
        names = ("fit", "tune", "check", "heldout")
        found = {name: str(getattr(self, f"{name}_sha256")) for name in names}
        return {name: digest for name, digest in found.items() if digest}


ASKED = ("both", "next")
Size = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class Gate:
    """The accuracy criterion: upper 95 % bounds of word error rates, and every domain's estimate, in percent.

    `asks` says of which: `both`, or `next` words alone. Raises `ValueError` where it says neither.
    """

    __pydantic_config__ = CLOSED

    wer_next: float = 1.0
    wer_16: float = 1.0
    domain: float = 2.0
    contexts: Count = 5000
    asks: str = "both"

    def __post_init__(self) -> None:
        if self.asks not in ASKED:
            raise ValueError(f"asks is {self.asks!r}, expected one of {', '.join(ASKED)}")

    def tighter(self, share: float) -> Gate:
        """This gate at a `share` of its limits."""
        limits = {name: share * getattr(self, name) for name in ("wer_next", "wer_16", "domain")}
        return replace(self, **limits)

    @property
    def limits(self) -> dict[str, float]:
        """What is asked for, by metric."""
        return {"wer_next": self.wer_next} | ({"wer_16": self.wer_16} if self.asks == "both" else {})


@dataclass(frozen=True)
class RunSettings:
    """What a re-run has to repeat to get the same result."""

    __pydantic_config__ = CLOSED
    seed: Annotated[int, Ge(0), Le(LARGEST_SEED)] = 0
    size: Size = "medium"
    quick: bool = False
    pellucid: str = ""
    torch: str = ""
    understand: Count = 0
    stray: Annotated[float, Ge(0), Le(1)] = 0.0
    keep_weak: bool = field(default=False, repr=False)  # no stage of a run depends on it
    minutes: Annotated[float, Ge(0)] = field(default=0.0, repr=False)
    """What the steps of `understand` were turned from; 0 where they were given."""


@dataclass(frozen=True)
class Manifest:
    """The whole of `pellucid.toml`."""

    __pydantic_config__ = CLOSED
    subject: SubjectEntry
    corpus: CorpusEntry
    gate: Gate = field(default_factory=Gate)
    settings: RunSettings = field(default_factory=RunSettings)
    format: Literal[1, 2] = 2

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
        require_utf8((self.subject.name, *self.corpus.paths, *self.corpus.fit_paths))
        write_own(directory, MANIFEST, tomlkit.dumps(document))

    @staticmethod
    def read(directory: Path) -> Manifest:
        """Read `pellucid.toml` of `directory`. Raises `ProjectError` naming file and entry."""
        path = directory / MANIFEST
        if is_weightless(directory) and not path.is_file():
            raise ProjectError(f"{directory} {NEEDS}")
        if not path.is_file():
            raise ProjectError(
                f"{directory} is not a project directory: it has no {MANIFEST}; make one with `decompile`"
            )
        data = toml_of(text_of(path, ProjectError), str(path), ProjectError)
        if data.get("format") not in (1, 2):
            said = shown(data.get("format"))
            raise ProjectError(f"{path}: format is {said}, this version reads 1 and 2; update pellucid")
        for name in ("subject", "corpus", "gate", "settings"):
            if name not in data:
                raise ProjectError(f"{path}: the section [{name}] is missing")
        return fitting(Manifest, data, str(path), ProjectError)


def require_utf8(names: Iterable[str]) -> None:
    """Raise `ProjectError` for a name of a file that is not UTF-8: it could not be written down and found again."""
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ProjectError(
                f"{name!r} is not UTF-8 and cannot stand in {MANIFEST}; rename it, or name the folder that it is in"
            ) from None


def is_weightless(directory: Path) -> bool:
    """Whether `directory` holds a program without weights."""
    return (directory / WEIGHTLESS).is_file()

"""Reading `report.json`, of this format or of the one before it: all that this version reads of one has its type."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pellucid.base.errors import ProjectError
from pellucid.base.schema import OPEN, Count, content, parsed, plain_json

FORMAT = 2
"""The format that is written. In format 1 the domains of a program stood beside `overall`, as if they were totals."""
PROGRAMS = ("full", "source_only", "source_only_all", "noise_floor", "trigram", "bigram")


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95 % interval and what it rests on."""

    __pydantic_config__ = OPEN
    value: float | None
    low: float | None
    high: float | None
    n: Count


Metrics = dict[str, Figure | None]


@dataclass(frozen=True)
class FigureBlock:
    """The figures of a program over all text, and by domain."""

    __pydantic_config__ = OPEN
    overall: Metrics
    domains: dict[str, Metrics]


@dataclass(frozen=True)
class ReportedSubject:
    """What was decompiled."""

    __pydantic_config__ = OPEN
    name: str
    parameters: Count
    weights_sha256: str
    tokenizer_sha256: str
    layers: Count = 0
    heads: Count = 0
    neurons: Count = 0
    d_model: Count = 0
    vocab: Count = 0
    context: Count = 0


@dataclass(frozen=True)
class TextEntry:
    """A split of the text; `unit` says what was counted, `words` or, in text without spaces, `characters`."""

    __pydantic_config__ = OPEN
    sha256: str
    words: Count
    unit: str = "words"


@dataclass(frozen=True)
class Texts:
    """The splits of the text."""

    __pydantic_config__ = OPEN
    fit: TextEntry
    tune: TextEntry
    heldout: TextEntry
    check: TextEntry | None = None


@dataclass(frozen=True)
class OverlapEntry:
    """Stretches of held-out text, and how many of them also stand in the text to fit on, or nearly do."""

    __pydantic_config__ = OPEN
    stretches: Count
    copied: Count
    alike: Count


@dataclass(frozen=True)
class ReportedCorpus:
    """The text that was measured on."""

    __pydantic_config__ = OPEN
    origin: str
    splits: Texts
    domains: list[str] = field(default_factory=list)
    overlap: OverlapEntry | None = None


@dataclass(frozen=True)
class HeldOut:
    """How often held-out text was read, and by which text it was chosen what runs without residual."""

    __pydantic_config__ = OPEN
    readings: Count
    at_least: bool
    chosen_on: Literal["check", "heldout"]


@dataclass(frozen=True)
class StandingEntry:
    """Where both programs stand, in words, and the table that source-only is below, if any."""

    __pydantic_config__ = OPEN
    said: str
    below: str | None
    above: bool | None


@dataclass(frozen=True)
class Limits:
    """What the gate asks for; None of a word error rate that it does not ask for."""

    __pydantic_config__ = OPEN
    wer_next: float | None
    wer_16: float | None
    domain: float | None = None
    contexts: Count | None = None


@dataclass(frozen=True)
class GateEntry:
    """What became of the gate."""

    __pydantic_config__ = OPEN
    passed: bool | None
    reasons: list[str]
    limits: Limits
    both: bool | None = None
    next_word: bool | None = None


@dataclass(frozen=True)
class Shares:
    """Residual-free shares of one kind."""

    __pydantic_config__ = OPEN
    parameters: float | None
    effect: float | None
    data_effect: float | None = None


@dataclass(frozen=True)
class ResidualFree:
    """Residual-free shares, by form and by what they are of."""

    __pydantic_config__ = OPEN
    lifted: Shares
    source: Shares
    code: Shares
    data: Shares


@dataclass(frozen=True)
class Tested:
    """The parts of one kind whose description passed its test."""

    __pydantic_config__ = OPEN
    share: float | None
    mean_score: float | None
    n: Count


@dataclass(frozen=True)
class Described:
    """The parts whose description passed its test."""

    __pydantic_config__ = OPEN
    share: float | None
    mean_score: float | None
    n: Count
    kinds: dict[str, Tested] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationEntry:
    """How well estimated effects agree with exact ones."""

    __pydantic_config__ = OPEN
    correlation: float | None
    n: Count


@dataclass(frozen=True)
class ProgressEntry:
    """The progress numbers."""

    __pydantic_config__ = OPEN
    residual_free: ResidualFree
    source_only: Metrics
    evidence: Described
    effect_calibration: CalibrationEntry | None = None
    parts: dict[str, Count] | None = None


@dataclass(frozen=True)
class DivergenceEntry:
    """A place where the full program says another word."""

    __pydantic_config__ = OPEN
    domain: str = ""
    before: str = ""
    subject: str = ""
    program: str = ""
    kl: float | None = None


@dataclass(frozen=True)
class UncoveredKind:
    """A kind of position that no account covers: what stands before, and how many places it has."""

    __pydantic_config__ = OPEN
    behind: str
    n: Count
    right: Figure
    says: list[tuple[str, Count]]


@dataclass(frozen=True)
class Uncovered:
    """The places that no account covers, and the largest kinds of them."""

    __pydantic_config__ = OPEN
    places: Count
    silent: Count
    kinds: list[UncoveredKind]


@dataclass(frozen=True)
class ToldFigures:
    """Lines of tables, and those of them that say whether the text tells them; phantoms are what it never tells."""

    __pydantic_config__ = OPEN
    lines: Count
    flagged: Count
    otherwise: Count
    phantoms: Figure


@dataclass(frozen=True)
class Ties:
    """Variables, those whose ties were measured, and those whose ties hold."""

    __pydantic_config__ = OPEN
    variables: Count
    measured: Count
    hold: Count


@dataclass(frozen=True)
class AccountsEntry:
    """What accounts cover of all positions and of hard ones, and how large they are."""

    __pydantic_config__ = OPEN
    all: Metrics
    hard: Metrics
    symbols: Count
    uncovered: Uncovered | None = None
    tables: ToldFigures | None = None
    ties: Ties | None = None


@dataclass(frozen=True, kw_only=True)
class _About:
    """What stands in reports of every format."""

    __pydantic_config__ = OPEN
    quick: bool
    state: str
    subject: ReportedSubject
    corpus: ReportedCorpus
    heldout: HeldOut | None = None
    standing: StandingEntry | None = None
    gate: GateEntry
    progress: ProgressEntry
    pellucid: str = ""
    created: str = ""
    command: str = ""
    measured: list[str] = field(default_factory=list)
    worst: list[DivergenceEntry] = field(default_factory=list)
    accounts: AccountsEntry | None = None
    hindered: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Report1(_About):
    """A report of format 1."""

    format: Literal[1]
    full: dict[str, Metrics]
    source_only: dict[str, Metrics] | None
    source_only_all: dict[str, Metrics] | None
    noise_floor: dict[str, Metrics] | None
    trigram: dict[str, Metrics] | None
    bigram: dict[str, Metrics] | None

    def __post_init__(self) -> None:
        for name in PROGRAMS:
            if (block := getattr(self, name)) is not None and "overall" not in block:
                raise ValueError(f"{name}.overall is missing")


@dataclass(frozen=True, kw_only=True)
class _Report2(_About):
    """A report of format 2."""

    format: Literal[2]
    full: FigureBlock
    source_only: FigureBlock | None
    source_only_all: FigureBlock | None
    noise_floor: FigureBlock | None
    trigram: FigureBlock | None
    bigram: FigureBlock | None


@dataclass(frozen=True)
class _Head:
    """What tells formats apart."""

    __pydantic_config__ = OPEN
    format: Literal[1, 2]


def read_report(path: Path) -> dict[str, Any]:
    """The report in the file at `path`, in the shape of format 2, with whatever else stands in it.

    Raises `ProjectError` naming the entry that is missing or of another kind.
    """
    if not path.exists():
        raise ProjectError(f"{path} is missing; `pellucid verify` measures a project and writes its report")
    text = content(path, ProjectError)
    shape = _Report1 if parsed(_Head, text, str(path), ProjectError).format == 1 else _Report2
    parsed(shape, text, str(path), ProjectError)
    data: dict[str, Any] = plain_json(text, str(path), ProjectError)
    return data if shape is _Report2 else _from_format_1(data)


def _from_format_1(data: dict[str, Any]) -> dict[str, Any]:
    """The report with the domains of each program apart from its totals."""
    blocks = {name: data[name] and _apart(data[name]) for name in PROGRAMS}
    return data | blocks | {"format": FORMAT}


def _apart(block: dict[str, Any]) -> dict[str, Any]:
    domains = {domain: metrics for domain, metrics in block.items() if domain != "overall"}
    return {"overall": block["overall"], "domains": domains}

"""What a program says of an address: a statement, whichever words it is written in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pellucid.base.address import Address
from pellucid.family.partition import PartForm
from pellucid.listing.rows import Levels
from pellucid.listing.wiring import Wires
from pellucid.program.prelude import APART, BESIDE, DESCRIBED

STORED = ("lifted", "channels", "mean", "means")
"""What a lifted part says: its vectors are data."""

SEVERAL = re.compile(r"L(\d{2,9})\.(IN|OUT)", re.ASCII)
"""Neurons of a layer that share a statement: `constants` or `channels` (IN), or `means` (OUT)."""
NEURON = re.compile(r"L(\d{2,9})\.N(\d{4,9})\.IN", re.ASCII)
REST = re.compile(r"L(\d{2,9})\.N\*\.(IN|OUT)", re.ASCII)


@dataclass(frozen=True)
class Statement:
    """What a program says about an address, or about all neurons of a layer that it does not name."""

    key: str
    """As written: `L00.H01.QK`, `L00.N*.IN`, or `L00.IN` for `constants`, `L00.OUT` for `means`.

    `L00.H01.QK.lifted` and `L00.IN.lifted` for what stands beside a raw statement or a source: `lifted` and `channels`;
    `L00.IN.described` for `constants` that do not run.
    """
    form: str
    """`source` where it is a function, else what its word says: see `word.py`."""
    file: Path = Path()
    line: int = 0
    """First line, decorators included, counted from 1; `end` is the last one."""
    end: int = 0
    text: str = ""
    function: str | None = None
    docstring: str | None = None
    values: dict[int, float] = field(default_factory=dict)
    neurons: tuple[int, ...] = ()
    """Those that `constants`, `channels` and `means` are about."""
    rank: int = 0
    bias: float = 0.0
    """Of `linear` and `fires`."""
    here: Levels = field(default_factory=dict)
    """Of `fires`: what tokens here add, and `before` those one before."""
    before: Levels = field(default_factory=dict)
    terms: dict[str, float] = field(default_factory=dict)
    """Of `linear`: named values with their coefficients."""
    shared: dict[float, tuple[str, ...]] = field(default_factory=dict)
    """Of `linear`: those of the coefficients that are written once for several values."""
    asks: tuple[str, ...] = ()
    """Of a function that says where a head looks: the named values that it asks for."""
    uses: str = ""
    """A hash of the named values and kinds that it uses, empty where there are none: what it says depends on them."""
    wires: Wires | None = None
    """What a wired part reads and writes."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """What a word of a form's own says, in values that JSON has."""
    by_person: bool = True

    @property
    def part_form(self) -> PartForm:
        """Whether that is raw, lifted or a source: a constant is a source, a mean that is data is lifted."""
        return "raw" if self.form == "raw" else "lifted" if self.form in STORED else "source"

    @property
    def described(self) -> bool:
        """Whether it stands where sources do that do not run in the full program."""
        return is_described(self.file.name)

    @property
    def record_key(self) -> str:
        """What it is called in the record of what emission wrote."""
        return record_key(self.key, self.file.name)

    @property
    def at(self) -> str:
        """File and line, for messages."""
        return f"{self.file.name}:{self.line}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The named values that it reads itself."""
        return (*self.terms, *self.asks)

    @property
    def source(self) -> str | None:
        """File and function, as `parts.toml` names a source, `layer_00.py:previous_token`; or file and line."""
        if self.form == "raw":
            return None
        return f"{self.file.name}:{self.function}" if self.function else self.at


def page_name(key: str) -> str:
    """The file that says what runs at the statement `key`."""
    layer = re.match(r"L(\d+)\.", key)
    return f"layer_{layer[1]}.py" if layer else "embedding.py"


def described_name(name: str) -> str:
    """The file beside `layer_02.py` that describes what runs there otherwise: `described_02.py`."""
    return f"{DESCRIBED}{name.removeprefix('layer_')}"


def is_described(name: str) -> bool:
    """Whether a file holds sources that do not run."""
    return name.startswith(DESCRIBED)


def pages_of(key: str) -> tuple[str, str]:
    """The two files in which a source of the part `key` may stand."""
    return page_name(key), described_name(page_name(key))


def record_key(key: str, file: str) -> str:
    """What the statement `key` of a file is called in the record: one that runs and one that does not are two."""
    return f"described {key}" if is_described(file) else key


def meant(statement: Statement) -> list[Address]:
    """The addresses that a statement names, one for those of a wildcard."""
    key = statement.key.removesuffix(BESIDE).removesuffix(APART)
    if several := SEVERAL.fullmatch(key):
        kind: Literal["IN", "OUT"] = "IN" if several[2] == "IN" else "OUT"
        return [Address(kind, int(several[1]), neuron) for neuron in statement.neurons]
    return [Address.parse(key.replace("*", "0000"))]

"""A workbench: a decompiled program, loaded once, with text of its subject to look for places in and to predict on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.base.errors import ProjectError
from pellucid.corpus.corpus import Split
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import Row, padded, sample_rows
from pellucid.engine.subjects import Subject, edits_of
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.listing.edits import Edits, read_edits
from pellucid.listing.load import Program
from pellucid.project.project import Project
from pellucid.verify.running import Running

FIT_ROWS, CHECK_ROWS = 600, 1500
"""Rows of fit text that places are looked for in, and of held-out text that edits are predicted and measured on."""
BATCH = 32
"""Rows that are run at a time."""
LONGEST = 256
"""Tokens of a row, at most."""
WORK = 2e12
"""Multiplications that reading rows once may cost: a large model reads fewer of them."""


@dataclass(frozen=True)
class PaddedRows:
    """Rows of tokens, padded behind their ends."""

    ids: Int[Tensor, "row pos"]
    lengths: Int[Tensor, " row"]
    domains: tuple[str, ...]

    @property
    def inside(self) -> Bool[Tensor, "row pos"]:
        """Where there is text."""
        return torch.arange(self.ids.shape[1])[None] < self.lengths[:, None]

    def take(self, rows: Sequence[int] | Int[Tensor, " some"]) -> PaddedRows:
        """Some of its rows, cut to the longest of them."""
        at = torch.as_tensor(rows, dtype=torch.long)
        lengths = self.lengths[at]
        longest = int(lengths.max()) if len(at) else 1
        return PaddedRows(self.ids[at, :longest], lengths, tuple(self.domains[row] for row in at.tolist()))


def text_of(rows: Sequence[Row]) -> PaddedRows:
    """Rows as they are sampled."""
    lengths = torch.tensor([len(row) for row in rows])
    return PaddedRows(torch.from_numpy(padded(rows)), lengths, tuple(row.domain for row in rows))


def measured(program: Program, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
    """The logits of a program, on NumPy alone."""
    step = [program.logits(ids[at : at + BATCH].numpy()) for at in range(0, len(ids), BATCH)]
    return torch.from_numpy(np.concatenate(step))


class Workbench:
    """What editing works with. The program is trusted, and loaded when the bench is made."""

    def __init__(self, project: Project, *, check: Split | None = None, rows: tuple[int, int] = (FIT_ROWS, CHECK_ROWS)):
        """`check` is text to predict and measure on in the place of the project's held-out text."""
        self.project = project
        self.program: Program = project.program()
        self._check, self._rows = check, rows
        self.means: dict[str, Tensor] = {}
        """Mean activations over text, once they are known."""
        self.known: dict[str, Any] = {}
        """What is found out once and used by many edits."""
        try:
            self.running = Running(project.model, self.program)
        except ProjectError as error:
            raise ProjectError(f"{error}; edits by intent need such parts to keep their residual") from None

    @property
    def model(self) -> Model:
        """The program without what was edited, in the engine's terms."""
        return self.running.model

    @property
    def subject(self) -> Subject:
        """The program as it is now, for the engine."""
        return self.running

    @property
    def edits(self) -> Edits | None:
        """What `program/edits.py` says now."""
        return read_edits(self.program.directory / "program")

    @property
    def next_part(self) -> int:
        """A number for an inserted part that none has."""
        parts = [s.address for s in self.edits.statements if ".E" in s.address] if self.edits else []
        return 1 + max((int(address.rpartition("E")[2]) for address in parts), default=0)

    @cached_property
    def fit(self) -> PaddedRows:
        """Text to look for places in."""
        return self._sampled(self.project.texts.fit, self._rows[0])

    @cached_property
    def check(self) -> PaddedRows:
        """Text that nothing is chosen by, to predict and measure on."""
        return self._sampled(self._check or self.project.texts.heldout, self._rows[1])

    def _sampled(self, split: Split, count: int) -> PaddedRows:
        seed, length = self.project.manifest.settings.seed, min(row_tokens(self.model), LONGEST)
        room = int(WORK / (length * self.model.subject.parameters))
        return text_of(sample_rows(split, self.model.tokenizer, length, min(count, max(BATCH, room)), seed))

    def run(self, ids: Int[Tensor, "batch pos"], names: Sequence[str]) -> dict[str, Tensor]:
        """Activations of the program as it is now on whole rows."""
        edits, last = edits_of(self.subject, ids), max([name[:3] for name in names if name.startswith("L")], default="")
        if "logits" not in names and "final" not in names:  # what is edited behind all of them would change nothing
            edits = {name: edit for name, edit in edits.items() if name[:3] < last or name == f"{last}.scores"}
        with torch.no_grad():
            return self.model.run(ids, tuple(names), edits=edits)

    def later(self, ids: Int[Tensor, "batch pos"], at: str) -> dict[str, Edit]:
        """What was edited in layers behind `at` (as in L02), for runs that begin there."""
        return {name: edit for name, edit in edits_of(self.subject, ids).items() if name[:3] > at}

    def measured(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits of the program itself, on NumPy alone."""
        return measured(self.program, ids)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self.model.tokenizer.decode([token]) for token in ids]

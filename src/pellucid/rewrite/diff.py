"""What changed: which parts of a program, and which of its predictions, worst first, as a diff of code shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.experiment import estimate
from pellucid.experiment.corpus import CUTS, Split, read_corpus
from pellucid.experiment.fidelity import Settings, evaluate
from pellucid.experiment.ledger import Report
from pellucid.experiment.predictor import Predictor
from pellucid.experiment.rows import Row, padded, sample_rows
from pellucid.listing.parse import Listing
from pellucid.match.manifest import MANIFEST
from pellucid.match.project import Project, belonging
from pellucid.rewrite.hand import refined, written
from pellucid.subject.load import load_subject

ROWS = 64
"""Rows of text that predictions are compared on."""
WORST, BEFORE = 20, 12
"""Changed predictions that are shown, and tokens before each."""
Status = Literal["refinement", "edit", "changed"]


@dataclass(frozen=True)
class Part:
    """A part that says something else, and whether that is a refinement (its residual follows) or an edit.

    Between two directories a part may also have `changed` without a person: it was decompiled otherwise.
    """

    address: str
    status: Status
    edit: int | None
    before: str | None
    """What it said; None where that is not kept."""
    after: str


@dataclass(frozen=True)
class Prediction:
    """A place where something else is said: its text and position, both tokens, and by how much their logits moved."""

    domain: str
    document: str
    position: int
    text: str
    before: str
    after: str
    by: float


@dataclass(frozen=True)
class Diff:
    """Parts and predictions that changed, and the totals by domain, in the shape of a report."""

    parts: tuple[Part, ...]
    predictions: tuple[Prediction, ...]
    changed: dict[str, Any]
    """`overall`, and by name in `domains`: positions, those that changed, and their share."""
    totals: Report

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        said = {"parts": [asdict(p) for p in self.parts], "predictions": [asdict(p) for p in self.predictions]}
        return said | {"changed": self.changed, "totals": self.totals}


def diff(project: Project, against: str | None = None, corpus: tuple[Path, ...] = ()) -> Diff:
    """Compare the program in a directory with its subject, or with the program or subject `against`.

    On held-out text, or on `corpus`. Raises `PellucidError` for what is neither, or of another subject.
    """
    other = _opened(project, against)
    split = _split(corpus) if corpus else project.texts.heldout
    model, seed = project.model, project.manifest.settings.seed
    before: Predictor = other.program() if isinstance(other, Project) else other
    after = project.program()
    rows = sample_rows(split, model.tokenizer, model.n_ctx, ROWS, seed)
    predictions, changed = _predictions(model, before, after, rows)
    settings = Settings(contexts=estimate.QUICK_CONTEXTS, seed=seed)
    totals = evaluate(before, {"after": after}, rows, model.tokenizer, settings)["after"].to_dict()
    listed = other.listing() if isinstance(other, Project) else None
    return Diff(tuple(parts(project.listing(), listed)), tuple(predictions), changed, totals)


def _opened(project: Project, against: str | None) -> Project | Model:
    """What a program is compared with: its subject, another directory of it, or another subject."""
    if against is None:
        return project.model
    if (Path(against) / MANIFEST).is_file():
        other = Project.open(against)
        belonging(project.subject, other.manifest, Path(against))
        return other
    return Model(load_subject(against))


def _split(paths: tuple[Path, ...]) -> Split:
    """All of a text."""
    corpus = read_corpus(paths)
    return Split(corpus, CUTS[-1], frozenset({"fit", "tune", "heldout"}), "", 0, 0)


def parts(listing: Listing, other: Listing | None = None) -> Iterator[Part]:
    """The parts that a person changed or that were edited, or all that are not as in the program `other`."""
    numbers = listing.edits.based if listing.edits else {}
    for statement in refined(listing) if other is None else listing.statements.values():
        said = other.statements.get(statement.key) if other else None
        if other is None or said is None or said.text != statement.text:
            status: Status = "refinement" if statement.by_person else "changed"
            if statement.key not in numbers:
                before = said.text if said else written(listing, statement) if other is None else ""
                yield Part(statement.key, status, None, before, statement.text)
    held = other.edits.text if other and other.edits else ""
    for edited in listing.edits.statements if listing.edits else ():
        if edited.kind == "base":
            now = listing.statements.get(edited.address)
            yield Part(edited.address, "edit", edited.number, edited.text, now.text if now else "")
        elif edited.kind == "edit" and edited.text not in held:
            yield Part(edited.address, "edit", edited.number, "", edited.text)


def _predictions(
    model: Model, before: Predictor, after: Predictor, rows: list[Row]
) -> tuple[list[Prediction], dict[str, Any]]:
    """The changed predictions, those first where the logits moved most; and how many there are, also by domain."""
    found: list[tuple[float, Row, int, int, int]] = []
    overall = [0, 0]
    domains: dict[str, list[int]] = {}
    for start in range(0, len(rows), 16):
        some = rows[start : start + 16]
        ids = padded(some)
        old, new = (torch.from_numpy(np.asarray(side.extend(ids)[0])) for side in (before, after))
        for at, row in enumerate(some):
            changes = list(_changes(old[at, : len(row)], new[at, : len(row)]))
            found += [(by, row, position, was, now) for position, was, now, by in changes]
            for total in (overall, domains.setdefault(row.domain, [0, 0])):
                total[0] += len(row)
                total[1] += len(changes)
    found.sort(key=lambda entry: -entry[0])
    shown = [_shown(model, *entry) for entry in found[:WORST]]
    return shown, {"overall": _share(overall), "domains": {name: _share(total) for name, total in domains.items()}}


def _share(total: list[int]) -> dict[str, Any]:
    positions, changed = total
    return {"positions": positions, "changed": changed, "share": changed / positions}


def _changes(old: Float[Tensor, "pos vocab"], new: Float[Tensor, "pos vocab"]) -> Iterator[tuple[int, int, int, float]]:
    """Positions whose top token changed, both tokens, and by how much their logits moved against each other."""
    was, now = old.argmax(-1), new.argmax(-1)
    for position in (was != now).nonzero()[:, 0].tolist():
        a, b, moved = int(was[position]), int(now[position]), new[position] - old[position]
        yield position, a, b, float(moved[b] - moved[a])


def _shown(model: Model, by: float, row: Row, position: int, was: int, now: int) -> Prediction:
    """A changed prediction, with the text before it."""
    decode = model.tokenizer.decode
    text = decode(row.tokens[max(0, position + 1 - BEFORE) : position + 1].tolist())
    return Prediction(row.domain, row.document, position, text, decode([was]), decode([now]), round(by, 3))

"""What changed: which parts of a program, and which of its predictions, worst first, as a diff of code shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.accounts.differ import AccountsDifference, difference
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.corpus.corpus import ALL, CUTS, Split, read_corpus
from pellucid.corpus.rows import Row, padded, sample_rows
from pellucid.exact.model import Model
from pellucid.exact.predictor import Predictor
from pellucid.listing.edits import Edits
from pellucid.listing.load import Program
from pellucid.listing.parse import Listing
from pellucid.measure.fidelity import MeasureSettings, evaluate
from pellucid.measure.ledger import Report
from pellucid.project.manifest import MANIFEST
from pellucid.project.project import Project
from pellucid.rewrite.forecast import ROWS as MEASURED
from pellucid.rewrite.hand import refined, written
from pellucid.rewrite.predict import EditAtWork, acts
from pellucid.rewrite.workbench import CHECK_ROWS, text_of
from pellucid.subject.load import load_subject

ROWS = 64
"""Rows of text that predictions are compared on."""
WORST, BEFORE = 20, 12
"""Changed predictions that are shown, and tokens before each."""
Status = Literal["refinement", "edit", "changed"]


@dataclass(frozen=True)
class PartDiffers:
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
class SpokenWhere:
    """Where an edit is measured: at how many places it speaks, on how many rows, and what changed at their positions.

    What it changes is rare in text, so that sampled rows hardly show it. These rows are chosen, and no share of text.
    """

    edit: int
    speaks: int
    rows: int
    positions: int
    changed: int


Move = tuple[float, Row, int, int, int]
"""A changed prediction: by how much the logits moved, where, and the tokens before and after."""


@dataclass(frozen=True)
class Diff:
    """Parts and predictions that changed, and the totals by domain, in the shape of a report."""

    parts: tuple[PartDiffers, ...]
    predictions: tuple[Prediction, ...]
    changed: dict[str, Any]
    """`overall`, and by name in `domains`: positions, those that changed, and their share, on rows that are sampled."""
    totals: Report
    spoken: tuple[SpokenWhere, ...] = ()
    """What changed where the edits speak that one side has and the other has not."""
    accounts: AccountsDifference | None = None
    """How the accounts of two directories differ; None where there are none, and beside a subject."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        said = {"parts": [asdict(p) for p in self.parts], "predictions": [asdict(p) for p in self.predictions]}
        spoken = [asdict(edit) for edit in self.spoken]
        accounts = {"accounts": self.accounts.to_dict() if self.accounts else None}
        return said | {"changed": self.changed, "edits": spoken, "totals": self.totals} | accounts


def diff(project: Project, against: str | None = None, corpus: tuple[Path, ...] = ()) -> Diff:
    """Compare the program in a directory with its subject, or with the program or subject `against`.

    On held-out text, or on `corpus`. Of two subjects the parts are not compared. Raises `PellucidError` for what is
    neither, and for other tokens.
    """
    other = _opened(project, against)
    split = _split(corpus) if corpus else project.texts.heldout
    model, seed = project.model, project.manifest.settings.seed
    before: Predictor = other.program() if isinstance(other, Project) else other
    after = project.program()
    length = min(model.n_ctx, before.n_ctx)
    rows = sample_rows(split, model.tokenizer, length, ROWS, seed)
    moves = _moves(before, after, rows)
    mine, theirs = project.listing(), other.listing() if isinstance(other, Project) else None
    same = not isinstance(other, Project) or _is_same(project, other)
    accounts = difference(project, other, (before, after)) if isinstance(other, Project) else None
    edits = _differing(after, mine.edits, theirs.edits if theirs else None)
    if theirs and isinstance(before, Program):
        edits |= _differing(before, theirs.edits, mine.edits)
    many = sample_rows(split, model.tokenizer, length, CHECK_ROWS, seed) if edits else []
    spoken = [_spoken(after, edits[key], many, before, after) for key in sorted(edits)]
    settings = MeasureSettings(contexts=Effort.quick().contexts, seed=seed)
    totals = evaluate(before, {"after": after}, rows, model.tokenizer, settings)["after"].to_dict()
    every = [move for found in (*moves, *(found for _, found in spoken)) for move in found]
    where = tuple(found for found, _ in spoken)
    changed = tuple(parts(mine, theirs)) if same else ()
    return Diff(changed, _worst(model, every), _counted(rows, moves), totals, where, accounts)


def _worst(model: Model, moves: Sequence[Move]) -> tuple[Prediction, ...]:
    """The changed predictions of which the logits moved most, each place once."""
    found = {(move[1].document, move[2], move[1].tokens.tobytes()): move for move in moves}
    worst = sorted(found.values(), key=lambda move: -move[0])[:WORST]
    return tuple(_shown(model, *move) for move in worst)


def _opened(project: Project, against: str | None) -> Project | Model:
    """What a program is compared with: its subject, another directory of it, or another subject."""
    if against is None:
        return project.model
    if (Path(against) / MANIFEST).is_file():
        other = Project.open(against)
        if other.manifest.subject != project.manifest.subject:
            require_same_tokens(project.model, other.model, against)
        return other
    model = Model(load_subject(against))
    require_same_tokens(project.model, model, against)
    return model


def _is_same(project: Project, other: Project) -> bool:
    """Whether two directories are of one subject."""
    return project.manifest.subject.weights_sha256 == other.manifest.subject.weights_sha256


def require_same_tokens(mine: Model, other: Model, against: str) -> None:
    """Raise `ProjectError` unless both models speak of the same tokens: else their predictions cannot be compared."""
    if mine.n_vocab != other.n_vocab:
        said = f"{other.n_vocab:,} tokens, the program has {mine.n_vocab:,}"
    else:
        ids = range(mine.n_vocab)
        unlike = (i for i in ids if mine.tokenizer.token_bytes(i) != other.tokenizer.token_bytes(i))
        first = next(unlike, None)
        if first is None:
            return
        theirs, ours = (model.tokenizer.decode([first]) for model in (other, mine))
        said = f"token {first} is {theirs!r} there, {ours!r} in the program"
    raise ProjectError(
        f"{against!r} has another vocabulary ({said}); compare with a model of the same tokens, such as the subject "
        f"before or after some training"
    )


def _split(paths: tuple[Path, ...]) -> Split:
    """All of a text."""
    corpus = read_corpus(paths)
    return Split(corpus, CUTS[-1], ALL, "", 0, 0)


def parts(listing: Listing, other: Listing | None = None) -> Iterator[PartDiffers]:
    """The parts that a person changed or that were edited, or all that are not as in the program `other`."""
    numbers = listing.edits.based if listing.edits else {}
    for statement in refined(listing) if other is None else listing.statements.values():
        said = other.statements.get(statement.key) if other else None
        if other is None or said is None or said.text != statement.text:
            status: Status = "refinement" if statement.by_person else "changed"
            if statement.key not in numbers:
                before = said.text if said else written(listing, statement) if other is None else ""
                yield PartDiffers(statement.key, status, None, before, statement.text)
    held = other.edits.text if other and other.edits else ""
    for edited in listing.edits.statements if listing.edits else ():
        if edited.kind == "base":
            now = listing.statements.get(edited.address)
            yield PartDiffers(edited.address, "edit", edited.number, edited.text, now.text if now else "")
        elif edited.kind == "edit" and edited.text not in held:
            yield PartDiffers(edited.address, "edit", edited.number, "", edited.text)
    mine = listing.edits.text if listing.edits else ""
    for edited in other.edits.statements if other and other.edits else ():
        if edited.kind == "edit" and edited.text not in mine:
            yield PartDiffers(edited.address, "edit", edited.number, edited.text, "")


def _moves(before: Predictor, after: Predictor, rows: Sequence[Row]) -> list[list[Move]]:
    """The changed predictions of each row."""
    found: list[list[Move]] = []
    for start in range(0, len(rows), 16):
        some = rows[start : start + 16]
        ids = padded(some)
        old, new = (torch.from_numpy(np.asarray(side.extend(ids)[0])) for side in (before, after))
        for at, row in enumerate(some):
            changes = _changes(old[at, : len(row)], new[at, : len(row)])
            found.append([(by, row, position, was, now) for position, was, now, by in changes])
    return found


def _counted(rows: Sequence[Row], moves: Sequence[list[Move]]) -> dict[str, Any]:
    """How many predictions changed, also by domain."""
    overall = [0, 0]
    domains: dict[str, list[int]] = {}
    for row, changes in zip(rows, moves, strict=True):
        for total in (overall, domains.setdefault(row.domain, [0, 0])):
            total[0] += len(row)
            total[1] += len(changes)
    return {"overall": _share(overall), "domains": {name: _share(total) for name, total in domains.items()}}


def _share(total: list[int]) -> dict[str, Any]:
    positions, changed = total
    return {"positions": positions, "changed": changed, "share": changed / positions}


# --- where edits speak ------------------------------------------------------------------------------------------------


def _differing(program: Program, own: Edits | None, held: Edits | None) -> dict[tuple[int, str], list[EditAtWork]]:
    """The edits of a program that are not among those `held`, ready to be called, by number and first function."""
    known = {statement.text for statement in held.statements} if held else set()
    new = [s for s in own.statements if s.kind == "edit" and s.text not in known] if own else []
    names = {statement.number: statement.name for statement in reversed(new)}
    found: dict[tuple[int, str], list[EditAtWork]] = {}
    changes = program.model.plan.changes
    for group in (*changes.moves.values(), *changes.writes.values()):
        for edit in group:
            if (number := edit.change.number) in names:
                found.setdefault((number, names[number]), []).append(edit)
    return found


def _spoken(
    program: Program, edits: Sequence[EditAtWork], rows: Sequence[Row], before: Predictor, after: Predictor
) -> tuple[SpokenWhere, list[Move]]:
    """What changes on the rows that an edit is measured on: the first of those where it speaks."""
    speaks = acts(program, edits, text_of(rows), MEASURED)
    at = speaks.any(1).nonzero()[:MEASURED, 0].tolist()
    chosen = [rows[row] for row in at]
    moves = [move for found in _moves(before, after, chosen) for move in found]
    positions = sum(map(len, chosen))
    return SpokenWhere(edits[0].change.number, int(speaks[at].sum()), len(chosen), positions, len(moves)), moves


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

"""Making an edit, and undoing it: predicted first, then written, run, and measured where it was predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.trusted import PROGRAM, write_own
from pellucid.listing.edits import PAGE, read_edits, without
from pellucid.rewrite.edit import FOLDER, Record, find, next_number, read_records, standing, today, write_record
from pellucid.rewrite.forecast import AGREE, Forecast, forecast, measure
from pellucid.rewrite.hand import restore
from pellucid.rewrite.intent import SURE, Proposal
from pellucid.rewrite.predict import EditAtWork, strengths
from pellucid.rewrite.wording import GLANCE
from pellucid.rewrite.workbench import Workbench

ASTRAY = 0.2
"""The share of predicted changes between other tokens than it names beyond which an edit does too much."""


KNOWN = 0.5
"""The least probability of what is said with which a program knows what it says, where no head decides it."""


@dataclass(frozen=True)
class Ready:
    """An edit that was predicted and not yet made."""

    proposal: Proposal
    forecast: Forecast
    doubts: tuple[str, ...]
    """Why its effect cannot be told; empty where it can."""

    @property
    def margin(self) -> float | None:
        """The predicted margin at the worst place that it was tuned on; None of an edit that says nothing itself."""
        return None if self.proposal.kind == "read" else self.proposal.margin

    def to_dict(self, bench: Workbench) -> dict[str, Any]:
        """As JSON shows it."""
        found = self.forecast.to_dict(bench)
        now = [asdict(said) for said in self.proposal.now]
        return found | {"now": now, "margin": self.margin, "sure": not self.doubts, "doubts": list(self.doubts)}


def predicted(bench: Workbench, proposal: Proposal) -> Ready:
    """Predict an edit on text that it was not found on, and say whether that can be relied on.

    Raises `PellucidError` naming an edit that speaks at the same places already.
    """
    _refuse_conflict(bench, proposal)
    found = forecast(bench, proposal.ready(bench), bench.check, proposal.tokens, proposal.near(bench))
    doubts = list(_unknown(bench, proposal, found))
    if proposal.margin < SURE:
        doubts.append(
            f"no strength is predicted to do it everywhere: the margin is {proposal.margin:+.1f} at the worst place"
        )
    if found.doubt > 1 - AGREE:
        doubts.append(f"neurons bend too much on the way: linear paths agree with them by r = {1 - found.doubt:.2f}")
    if (astray := _astray(bench, proposal, found)) and proposal.kind != "read":
        doubts.append(astray)
    return Ready(proposal, found, tuple(doubts))


def _unknown(bench: Workbench, proposal: Proposal, found: Forecast) -> Iterator[str]:
    """Why nothing shows what an edit does: the program does not know what is asked, or no text asks it."""
    if proposal.inserted and proposal.now and proposal.now[0].probability < KNOWN:
        said = proposal.now[0]
        yield f"the program does not know it: behind the prompt it says {said.token!r} with {said.probability:.0%} only"
    if proposal.kind in ("fact", "forget", "rule") and not found.speaks:
        yield (
            f"it speaks at none of {int(bench.check.inside.sum()):,} positions of held-out text, where nobody asks "
            "that, so nothing shows what else it does"
        )


def _astray(bench: Workbench, proposal: Proposal, found: Forecast) -> str:
    """What an edit changes that it is not about; empty where that is little."""
    changed = int(found.changed.sum())
    if (astray := found.astray(proposal.tokens)) > ASTRAY * changed:
        return f"{astray} of {changed} predicted changes are between tokens that it does not name"
    elsewhere = found.astray(proposal.tokens, of_one=True) if proposal.kind in ("fact", "forget") else 0
    if elsewhere > ASTRAY * changed:
        said = " or ".join(map(repr, bench.texts(proposal.tokens)))
        return f"{elsewhere} of {changed} predicted changes are where something else is asked: {said} is not said there"
    return ""


def apply(bench: Workbench, ready: Ready, *, anyway: bool = False) -> Record:
    """Make an edit that was predicted, measure it where it was predicted, and record both.

    Raises `PellucidError` where its effect cannot be told, unless `anyway`; then nothing is written.
    """
    if ready.doubts and not anyway:
        says = f" (behind the prompt it says {ready.proposal.now[0].token!r} now)" if ready.proposal.now else ""
        raise PellucidError(
            f"{'; '.join(ready.doubts)}; the effect cannot be predicted{says}: say it otherwise, or --anyway"
        )
    directory, proposal = bench.program.directory, ready.proposal
    number = next_number(read_records(directory))
    text, own = proposal.page(bench, number)
    record = Record(
        number, proposal.kind, proposal.what, proposal.why, today(), proposal.parts, bool(proposal.inserted),
        text=own, located=[site.to_dict() for site in proposal.located], prediction=ready.to_dict(bench),
    )  # fmt: skip
    write_record(directory, record)
    try:
        write_page(bench, text)
    except BaseException:
        (directory / FOLDER / f"{record.name}.json").unlink(missing_ok=True)
        raise
    outcome = measure(bench, ready.forecast, proposal.tokens)
    record = replace(record, measurement=outcome.to_dict())
    write_record(directory, record)
    return record


def write_page(bench: Workbench, text: str) -> None:
    """Let `program/edits.py` hold `text`, and the program of the bench take it over; put back what breaks it."""
    path = bench.program.directory / "program" / PAGE
    old = path.read_text(encoding="utf-8") if path.is_file() else None
    write_own(bench.program.directory, f"{PROGRAM}/{PAGE}", text)
    try:
        bench.program.edited()
    except BaseException:
        _restore(path, old)
        raise


def _restore(path: Path, old: str | None) -> None:
    if old is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, old)


def undo(directory: Path, wanted: Sequence[str]) -> list[Record]:
    """Undo edits, by number; those that stand stay as they are.

    Raises `PellucidError` for a number that is none, for an edit that is undone already, and for one that later edits
    build on: those have to be undone first, or with it.
    """
    records = read_records(directory)
    chosen = [find(records, one) for one in wanted]
    gone = {record.number for record in chosen}
    for record in chosen:
        if record.undone is not None:
            raise PellucidError(f"edit {record.name} was undone on {record.undone} already")
        later = [other for other in standing(records) if other.number not in gone and _builds_on(other, record)]
        if later:
            names = ", ".join(f"{other.name} ({other.why})" for other in later)
            raise PellucidError(f"later edits build on edit {record.name}: {names}; undo them first, or all at once")
    for record in sorted(chosen, key=lambda record: -record.number):
        _take_back(directory, record)
        write_record(directory, replace(record, undone=today()))
    return chosen


def _builds_on(later: Record, record: Record) -> bool:
    """Whether an edit was made of what another one had left: of a source that was edited by hand before."""
    return (
        later.number > record.number and "hand" in (later.kind, record.kind) and bool({*later.parts} & {*record.parts})
    )


def _take_back(directory: Path, record: Record) -> None:
    """Let the program be as if an edit had not been made."""
    if record.kind == "hand":
        restore(directory, record)
    program = directory / "program"
    held = read_edits(program)
    if held is None:
        return
    text = without(held, record.number)
    left = any(s.number for s in held.statements if s.number != record.number)
    if left:
        write_own(directory, f"{PROGRAM}/{PAGE}", text)
    else:
        (program / PAGE).unlink()


def _refuse_conflict(bench: Workbench, proposal: Proposal) -> None:
    """Raise `PellucidError` where an edit that stands speaks at the same places for something else."""
    changes = bench.program.model.plan.changes
    made = [edit for held in (changes.moves, changes.writes) for edits in held.values() for edit in edits]
    standing_edits = [edit for edit in made if (edit.kind == "TOK") == (proposal.kind == "read")]
    if not proposal.prompt or not standing_edits:
        return
    ids = torch.tensor([proposal.prompt])
    for edit in standing_edits:
        if edit.kind != "B" and _speaks_behind(bench, edit, ids):
            record = find(read_records(bench.program.directory), str(edit.change.number))
            raise PellucidError(
                f"edit {record.name} speaks here already: {record.what} Asked for now: {proposal.what} "
                f"Undo one first: --undo {record.number}"
            )


def _speaks_behind(bench: Workbench, edit: EditAtWork, ids: Int[Tensor, "one pos"]) -> bool:
    """Whether an edit speaks at the end of a text: of a token that its head does look at there, if it has one."""
    said = strengths(bench.program, edit, ids)[0, -1] != 0
    if edit.kind != "OV" or not said.any():
        return bool(said.any())
    pattern = f"L{edit.layer:02d}.pattern"
    return float(bench.run(ids, (pattern,))[pattern][0, edit.head, -1][said].sum()) >= GLANCE

"""What `pellucid edit` does: one intent a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError
from pellucid.base.lock import writing
from pellucid.listing.emit import emit
from pellucid.project.project import Project
from pellucid.rewrite.apply import Ready, apply, predicted, undo
from pellucid.rewrite.edit import Record, next_number, read_records
from pellucid.rewrite.hand import commit
from pellucid.rewrite.intent import Proposal, fact, forget
from pellucid.rewrite.read import read
from pellucid.rewrite.rules import rule, suppress
from pellucid.rewrite.settle import settle, settle_undone
from pellucid.rewrite.show import proposal_lines, ready_lines
from pellucid.rewrite.workbench import Workbench


@dataclass(frozen=True)
class Intent:
    """What was asked for on the command line; exactly one thing."""

    fact: tuple[str, str] | None = None
    forget: str | None = None
    when: str | None = None
    prefer: str | None = None
    over: str | None = None
    read: tuple[str, str] | None = None
    suppress: Sequence[str] = ()
    commit: str | None = None
    undo: Sequence[str] = ()
    list: bool = False
    tables: bool = False

    def require_one(self) -> None:
        """Raise `PellucidError` unless one thing is asked for, and all that it takes is given."""
        ruled = [name for name in ("when", "prefer", "over") if getattr(self, name) is not None]
        asked = [name for name in ("fact", "forget", "read", "commit") if getattr(self, name) is not None]
        asked += [name for name in ("suppress", "undo", "list", "tables") if getattr(self, name)]
        if len(asked) + bool(ruled) != 1:
            raise PellucidError(
                "expected one of --fact PROMPT ANSWER, --forget PROMPT, --when PATTERN --prefer X --over Y, "
                "--read TOKEN OTHER, --suppress TOKEN, --tables, --commit PART, --undo ID, --list"
            )
        if ruled and not {"prefer", "over"} <= set(ruled):
            raise PellucidError("a rule takes --prefer X and --over Y, and --when PATTERN unless it holds everywhere")


@dataclass(frozen=True)
class EditMade:
    """An edit, and what was shown before it was made; `record` is None where it was only predicted."""

    proposal: Proposal
    ready: Ready
    text: str
    figures: dict[str, Any]
    record: Record | None = None

    def lines(self) -> Iterator[str]:
        """What is shown before."""
        yield from proposal_lines(self.proposal, self.text)
        yield from ready_lines(self.ready, self.figures)

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        said = {"what": self.proposal.what, "parts": list(self.proposal.parts), "inserted": self.proposal.inserted}
        located = [site.to_dict() for site in self.proposal.located]
        record = self.record.to_dict() if self.record else None
        return said | {"located": located, "source": self.text, "prediction": self.figures, "record": record}


def propose(bench: Workbench, intent: Intent) -> EditMade:
    """Locate and predict what is asked for; nothing is written."""
    if intent.fact:
        proposal = fact(bench, *intent.fact)
    elif intent.forget is not None:
        proposal = forget(bench, intent.forget)
    elif intent.read:
        proposal = read(bench, *intent.read)
    elif intent.suppress:
        proposal = suppress(bench, intent.suppress)
    else:
        proposal = rule(bench, intent.when or "", intent.prefer or "", intent.over or "")
    ready = predicted(bench, proposal)
    _, text = proposal.page(bench, next_number(read_records(bench.program.directory)))
    return EditMade(proposal, ready, text, ready.to_dict(bench))


def make(bench: Workbench, made: EditMade, *, anyway: bool = False) -> Record:
    """Make what was proposed; see `apply`."""
    with writing(bench.program.directory):
        return settle(bench, made.proposal, apply(bench, made.ready, anyway=anyway))


def opened(project: Project) -> Workbench:
    """A workbench for a project, whose program first learns how edits run if it was written before they could."""
    _renew(project)
    return Workbench(project)


def undone(project: Project, wanted: Sequence[str]) -> list[Record]:
    """Undo edits; see `undo`. The program that is left must load."""
    with writing(project.directory):
        found = undo(project.directory, wanted)
        settle_undone(project, project.program(), found)
    return found


def committed(project: Project, part: str, against: Path | None) -> Record:
    """Record a source that was changed by hand; see `commit`."""
    with writing(project.directory):
        _renew(project)
        return commit(project, part, against)


def _renew(project: Project) -> None:
    """Bring a program that was written before programs could hold edits up to date."""
    if not (project.directory / "program" / "changes.py").is_file():
        with writing(project.directory):
            emit(project.subject, project.directory)

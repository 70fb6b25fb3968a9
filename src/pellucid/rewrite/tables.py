"""Facts as lines: what a person changed in the tables of accounts becomes edits, one a line.

All lines are located and predicted first, on the program as it is; then they are made one after the other, each
predicted once more on what the others left. A line that fails leaves nothing behind, and the others stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pellucid.accounts.asked import TableWordings
from pellucid.accounts.folder import Folder
from pellucid.accounts.follows import Follows, follows
from pellucid.accounts.lines import AskedTables, Differs, read_tables
from pellucid.accounts.uses import pages
from pellucid.base.errors import PellucidError, ProjectError
from pellucid.base.lock import writing
from pellucid.base.progress import track
from pellucid.base.work import mapped
from pellucid.rewrite.apply import apply, predicted, undo
from pellucid.rewrite.asking import KeyAnswer, answer_of
from pellucid.rewrite.edit import Record
from pellucid.rewrite.intent import Proposal, fact, goes_on, rows_of
from pellucid.rewrite.predict import predict
from pellucid.rewrite.questions import Questions, TableKey, questions_of
from pellucid.rewrite.settle import settle, settle_places
from pellucid.rewrite.words import answer_ids, prompt_ids
from pellucid.rewrite.workbench import Workbench

MOST = 0.5
"""A line counts as answered in more than this share of its wordings."""


@dataclass(frozen=True)
class LineQuestion:
    """A line's question in the wordings that have the old answer, and the tokens of the new one."""

    line: Differs
    prompts: tuple[str, ...]
    letters: tuple[range, ...]
    rows: tuple[tuple[int, ...], ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Planned:
    """A changed line: the edit that it asks for, what is predicted, and why it is refused if it is."""

    line: Differs
    question: LineQuestion | None = None
    proposal: Proposal | None = None
    figures: dict[str, Any] | None = None
    """The prediction on held-out text, as the record of an edit holds it."""
    predicted: int | None = None
    """Wordings in which it is predicted to say the new answer."""
    others: tuple[TableKey, ...] = ()
    """Other lines that were asked, of this table and others, which it is predicted to change."""
    refused: str = ""
    already: bool = False
    """Whether the program says so as it is: then only its line is brought up to date."""
    record: Record | None = None
    measured: KeyAnswer | None = None
    """What the program answers once it is made."""

    @property
    def place(self) -> TableKey:
        """Its table and key."""
        return self.line.table, self.line.key

    @property
    def doubts(self) -> list[str]:
        """Why its effect cannot be told."""
        found = list(self.figures["doubts"]) if self.figures else []
        if self.question and self.predicted is not None and self.predicted <= MOST * len(self.question.rows):
            found.append(f"it is predicted to say so in {self.predicted} of {len(self.question.rows)} wordings")
        if strangers := [f"{key!r} in {table}" for table, key in self.others if key != self.line.key]:
            found.append(f"it changes what is said of {', '.join(strangers)} too")
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            **asdict(self.line),
            "wordings": len(self.question.rows) if self.question else None,
            "predicted": self.predicted,
            "others": [list(place) for place in self.others],
            "parts": list(self.proposal.parts) if self.proposal else [],
            "prediction": self.figures,
            "doubts": self.doubts,
            "refused": self.refused or None,
            "already": self.already,
            "record": self.record.to_dict() if self.record else None,
            "measured": asdict(self.measured) if self.measured else None,
        }


@dataclass(frozen=True)
class TablePlan:
    """What the changed lines of all tables ask for, and what follows from them."""

    lines: tuple[Planned, ...]
    follows: tuple[Follows, ...]
    asked: tuple[str, ...]
    """The tables whose lines were compared."""
    by_hand: tuple[str, ...]
    """Tables that the model was not asked: nothing is known to compare their lines with."""

    @property
    def refused(self) -> list[Planned]:
        """The lines that are not made."""
        return [line for line in self.lines if line.refused]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "tables": list(self.asked),
            "not_asked": list(self.by_hand),
            "lines": [line.to_dict() for line in self.lines],
            "follows": [found.to_dict() for found in self.follows],
        }


def plan(bench: Workbench) -> TablePlan:
    """Locate and predict what the changed lines ask for; nothing is written.

    Raises `PellucidError` where no table was asked of the model, and for accounts and tables that cannot be read.
    """
    folder = Folder(bench.project)
    folder.accounts()  # what they say of ties and tables is checked before anything is changed
    tables = read_tables(folder)
    by_hand = tuple(name for name in tables.tables if name not in tables.asked)
    if not tables.asked:
        raise ProjectError(
            f"no table of {bench.project.directory} was filled by asking the model, so there is nothing to compare "
            f"{', '.join(by_hand) or 'lines'} with; change a fact with --fact PROMPT ANSWER"
        )
    lines = tables.differing()
    questions = questions_of(bench.project.model, tables, None if lines else ())
    found = [*mapped(lambda line: _planned(bench, tables, line, questions), lines, "predicting lines")]
    found = [told_apart(line, found) for line in found]
    kept = [line.line for line in found if not line.refused]
    return TablePlan(tuple(found), tuple(follows(tables.tables, pages(folder), kept)), tuple(tables.asked), by_hand)


def _planned(bench: Workbench, tables: AskedTables, line: Differs, questions: Questions) -> Planned:
    """One line, by itself."""
    asked = tables.asked[line.table]
    if reason := _no_answer(asked, line):
        return Planned(line, refused=reason)
    try:
        question = _question(bench, asked, line)
        if not question.rows:
            return Planned(line, already=True)
        proposal = _proposal(bench, question, [key for key in asked.answers if key != line.key])
        figures = predicted(bench, proposal).to_dict(bench)
    except PellucidError as error:
        return Planned(line, refused=str(error))
    says = _says(bench, proposal, question)
    changed = questions.spoken(bench, proposal).changed(bench, proposal)
    others = [place for place in changed if place != (line.table, line.key)]
    return Planned(line, question, proposal, figures, says, tuple(others))


def _no_answer(asked: TableWordings, line: Differs) -> str:
    """Why a line is no changed answer; empty where it is one."""
    prompt = asked.prompts(line.key)[0]
    if line.was is None:
        return (
            f"{line.key!r} is new, and the model was not asked about it: take the line out; if the program is to say "
            f"so, --fact {prompt!r} {line.now!r}"
        )
    if line.now is None:
        return (
            f"the line of {line.key!r} is gone, and the program still answers {line.was!r}: put it back; if the "
            f"program is to say so no more, --forget {prompt!r}"
        )
    return ""


def _question(bench: Workbench, asked: TableWordings, line: Differs) -> LineQuestion:
    """The wordings in which the program gives the old answer; none if it gives the new one already.

    Raises `PellucidError` where the new answer cannot be said, and where the program gives neither.
    """
    prompts, letters = asked.prompts(line.key), asked.letters(line.key)
    now, was = (tuple(answer_ids(bench, prompts[0], said or "")) for said in (line.now, line.was))
    chosen, already = [], False
    said: tuple[int, ...] = ()
    for at, prompt in enumerate(prompts):
        said = tuple(goes_on(bench, prompt_ids(bench, prompt), max(len(now), len(was))))
        already |= said[: len(now)] == now
        if said[: len(was)] == was and tuple(answer_ids(bench, prompt, line.now or "")) == now:
            chosen.append(at)
    if not chosen and not already:
        raise PellucidError(
            f"of {line.key!r} the program says {bench.model.tokenizer.decode(said)!r}, neither {line.was!r} nor "
            f"{line.now!r}; say it with --fact {prompts[0]!r} {line.now!r}"
        )
    rows = tuple(tuple(prompt_ids(bench, prompts[at])) for at in chosen)
    return LineQuestion(line, tuple(prompts[at] for at in chosen), tuple(letters[at] for at in chosen), rows, now)


def _proposal(bench: Workbench, question: LineQuestion, others: Sequence[str]) -> Proposal:
    """The edit of a line, told apart from the other keys."""
    line, (first, *also) = question.line, question.prompts
    found = fact(bench, first, line.now or "", also, question.letters, others)
    what = f"Says {line.now!r} of {line.key!r}, as behind {first!r}, in the place of {line.was!r}."
    return replace(found, what=what, why=f"--tables {line}: {line.key!r} {line.now!r}")


def _says(bench: Workbench, proposal: Proposal, question: LineQuestion) -> int:
    """In how many wordings the program is predicted to say the new answer, each token behind those before."""
    change = predict(bench, proposal.ready(bench), rows_of([[*row, *question.wanted] for row in question.rows]))
    top = (change.before + change.bent).argmax(-1)  # neurons bend where strengths are tuned, too
    sides = zip(top, question.rows, strict=True)
    return sum(tuple(said[len(row) - 1 :][: len(question.wanted)].tolist()) == question.wanted for said, row in sides)


def told_apart(planned: Planned, lines: Sequence[Planned]) -> Planned:
    """Refuse a line if its edit is predicted to change the answer of another changed line, or the other way round."""
    others = [
        other.line
        for other in lines
        if other is not planned and other.line.now != planned.line.now
        if other.place in planned.others or planned.place in other.others
    ]
    if not others or planned.refused:
        return planned
    named = ", ".join(f"{other} ({other.key!r})" for other in others)
    reason = f"the program cannot tell it from {named}: what is edited for one is said of both; change one of them"
    return replace(planned, refused=reason)


# --- making -----------------------------------------------------------------------------------------------------------


def make_lines(bench: Workbench, lines: Sequence[Planned], *, anyway: bool = False) -> Iterator[Planned]:
    """Make the lines that are not refused, one after the other, and say of each what came of it."""
    for line in track(lines, "editing lines", len(lines)):
        if line.already:
            with writing(bench.program.directory):
                settle_places(bench.project, bench.measured, {line.place: ""})
        yield line if line.refused or line.already else _made(bench, line, anyway=anyway)


def _made(bench: Workbench, planned: Planned, *, anyway: bool) -> Planned:
    """Make the edit of a line; one that does not make the program say so is taken back, unless `anyway`."""
    question, proposal = planned.question, planned.proposal
    assert question is not None
    assert proposal is not None
    if planned.doubts and not anyway:
        return replace(planned, refused=f"{'; '.join(planned.doubts)}; the effect cannot be predicted: --anyway")
    directory, line = bench.program.directory, planned.line
    with writing(directory):
        try:
            record = apply(bench, predicted(bench, proposal), anyway=anyway)
        except PellucidError as error:
            return replace(planned, refused=str(error))
        known = {line.now or "", line.was or ""}
        found = answer_of(bench.measured, question.rows, bench.model.tokenizer, known)
        if (found.text != line.now or found.agreement <= MOST) and not anyway:
            undo(directory, [record.name])
            bench.program.edited()
            reason = f"made, it answers {found.text!r} in {found.said} of {found.of} wordings; it was taken back"
            return replace(planned, refused=reason, measured=found)
        record = settle(bench, proposal, record)
    return replace(planned, record=record, measured=found)

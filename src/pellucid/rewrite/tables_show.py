"""Changed lines of tables in the terminal: what is predicted of them, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pellucid.base.errors import PellucidError
from pellucid.base.terminal import json_text, say
from pellucid.rewrite.show import moved_lines
from pellucid.rewrite.tables import Planned, TablePlan, make_lines, plan
from pellucid.rewrite.workbench import Workbench

SHOWN = 3
"""Tables that are named of those that are not compared."""


def edit_lines(bench: Workbench, *, dry_run: bool, anyway: bool, as_json: bool) -> None:
    """Show what changed lines are predicted to do, and make them. Raises `PellucidError` if some are refused."""
    found = plan(bench)
    if not as_json:
        say("\n".join(plan_lines(found)))
    if not dry_run:
        lines = []
        for line in make_lines(bench, found.lines, anyway=anyway):
            lines.append(line)
            if not as_json:
                say("\n".join(made_lines(line)))
        found = replace(found, lines=tuple(lines))
        if lines and not as_json:
            say(summary(lines))
    if as_json:
        say(json_text(found.to_dict()))
    if refused := found.refused:
        named = ", ".join(dict.fromkeys(str(line.line) for line in refused))
        raise PellucidError(
            f"{len(refused)} of {len(found.lines)} lines were refused ({named}); why stands beside each"
        )


def plan_lines(found: TablePlan) -> Iterator[str]:
    """The prediction, line by line."""
    if found.by_hand:
        yield f"not compared, since the model was not asked: {_some(found.by_hand)}"
    count = len(found.lines)
    compared = f"of {len(found.asked)} table{'s' * (len(found.asked) != 1)}"
    if not count:
        yield f"no line {compared} differs from what the model says; change an answer in a .tsv, then call again"
        return
    yield f"{count} line{'s' * (count != 1)} {compared} differ{'s' * (count == 1)} from what the model says:"
    for line in found.lines:
        yield from _planned(line)
    if found.follows:
        yield "what follows from these lines:"
        yield from (f"  {told}" for told in found.follows)


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more tables" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _planned(line: Planned) -> Iterator[str]:
    told = line.line
    yield f"  {told}  {told.key!r}: {_side(told.was)} -> {_side(told.now)}"
    if line.refused:
        yield f"    refused: {line.refused}"
    elif line.already:
        yield "    the program says so already; the line is brought up to date"
    elif line.question and line.figures and line.proposal:
        found, wordings = line.figures, len(line.question.rows)
        yield (
            f"    predicted: says so in {line.predicted} of {wordings} wordings, such as {line.question.prompts[0]!r}; "
            f"margin {line.proposal.margin:+.2f} at the worst"
        )
        yield (
            f"    speaks at {found['speaks']} places on {found['rows']} rows of held-out text "
            f"({found['positions']:,} positions), in {', '.join(line.proposal.parts)}; {found['changed']} top tokens "
            "change"
        )
        also = [f"{key!r} in {table}" for table, key in line.others if key == told.key]
        if also:
            yield f"    changes too: {', '.join(also)}"
        yield from (f"    not sure: {doubt}" for doubt in line.doubts)


def _side(answer: str | None) -> str:
    return "–" if answer is None else repr(answer)


def made_lines(line: Planned) -> Iterator[str]:
    """One line that was to be made."""
    told = line.line
    if line.already:
        yield f"{told}  {told.key!r}: the program said so already"
    elif line.refused or not (line.record and line.measured):
        yield f"{told}  {told.key!r}: not made: {line.refused}"
    else:
        found, answer = line.record.measurement or {}, line.measured
        r = found["correlation"]
        yield (
            f"{told}  {told.key!r}: edit {line.record.name}; it answers {answer.text!r} in {answer.said} of "
            f"{answer.of} wordings; {found['changed']} top tokens changed, {found['surprises']} surprises, "
            f"r {'–' if r is None else f'{r:.4f}'}"
        )
        others = [moved for moved in line.record.lines if moved.place != line.place]
        yield from (f"  {told}" for told in moved_lines(others))


def summary(lines: Sequence[Planned]) -> str:
    """How many were made."""
    made = sum(line.record is not None for line in lines)
    return f"{made} of {len(lines)} lines made; undo any of them alone, by its number: --undo ID"

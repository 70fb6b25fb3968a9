"""Edits and differences in the terminal. Texts are shown as data: nothing in them is markup."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from pellucid.accounts.differ import difference_lines
from pellucid.base.terminal import terminal
from pellucid.rewrite.apply import Ready
from pellucid.rewrite.diff import Diff, PartDiffers
from pellucid.rewrite.edit import MovedLine, Record
from pellucid.rewrite.intent import Proposal
from pellucid.verify.lines import printable

SITES = 6
"""Parts that are shown of those that an edit was located by."""
LINES, CONTEXT = 40, 3
"""Lines of a part's difference that are shown, and lines around what differs."""
METRICS = ("top1", "kl", "ce_gap", "wer_next", "wer_16")


def print_diff(found: Diff) -> None:
    """Print a difference; on a terminal old lines are red and new ones green."""
    console = terminal()
    for line in diff_lines(found):
        style = {"  +": "green", "  -": "red"}.get(line[:3], "")
        console.print(Text(line, style), soft_wrap=True)


def diff_lines(found: Diff) -> Iterator[str]:
    """A difference to read: of two directories with accounts what their programs and accounts say comes first."""
    if found.accounts:
        yield from map(printable, difference_lines(found.accounts))
        yield ""
    yield f"{len(found.parts)} part{'' if len(found.parts) == 1 else 's'} changed"
    for part in found.parts:
        yield from _part(part)
    overall = found.changed["overall"]
    yield ""
    count = f"{overall['changed']:,} of {overall['positions']:,} predictions changed"
    yield f"{count} ({overall['share']:.2%}) on rows of text that are sampled"
    for edit in found.spoken:
        where = f"speaks at {edit.speaks} places on {edit.rows} rows ({edit.positions:,} positions)"
        yield f"edit {edit.edit:04d} {where}: {edit.changed} predictions changed there"
    if found.predictions:
        yield "worst first:"
    for place in found.predictions:
        said = f"{place.before!r} -> {place.after!r} by {place.by:+.2f}"
        yield f"  {place.document}:{place.position}  {place.text!r}  {said}"
    yield ""
    yield f"{'':<20}{'changed, %':>12}" + "".join(f"{name:>12}" for name in METRICS)
    yield _total("all text", overall, found.totals["overall"])
    for domain, metrics in found.totals["domains"].items():
        yield _total(f"  {domain}", found.changed["domains"].get(domain, {}), metrics)


def _total(name: str, changed: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """A line of totals: all text, or, set in, one domain."""
    share = changed.get("share")
    figures = "".join(f"{_figure(metrics.get(metric)):>12}" for metric in METRICS)
    return f"{name:<20}{'–' if share is None else f'{100 * share:.3f}':>12}{figures}"


def _figure(entry: Any) -> str:
    """A metric's value."""
    return "–" if not entry or entry["value"] is None else f"{entry['value']:.4g}"


def _part(part: PartDiffers) -> Iterator[str]:
    """A part, and the lines that it says otherwise."""
    yield ""
    yield f"{part.address}: {part.status}{f' {part.edit}' if part.edit else ''}"
    if part.before is None:
        yield "  (what it said before is not kept; name a copy of the directory as it was: --against DIR2)"
    before = part.before.split("\n") if part.before else []
    after = part.after.split("\n") if part.after else []
    lines = difflib.unified_diff(before, after, lineterm="", n=CONTEXT)
    shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    yield from (f"  {printable(line)}" for line in shown[:LINES])
    if len(shown) > LINES:
        yield f"  … {len(shown) - LINES} more lines"


def proposal_lines(proposal: Proposal, text: str) -> Iterator[str]:
    """Where an edit belongs, and what it will say."""
    yield proposal.what
    if proposal.now:
        said = ", ".join(f"{said.token!r} ({said.probability:.1%})" for said in proposal.now)
        yield f"behind the prompt it says now: {said}"
    if proposal.located:
        yield "located by attribution, then by putting each part to its mean in an exact run:"
    for site in proposal.located[:SITES]:
        looks = f", looks at position {site.looks_at} ({site.attention:.0%})" if site.looks_at >= 0 else ""
        tells = "" if site.tells is None else f", what it takes decides {site.tells:.2f} nats"
        effect = f"estimate {site.estimate:+7.2f}   exact {site.effect:+7.2f}  ({site.share:4.0%})"
        yield f"  {site.part:<14} {effect}{looks}{tells}"
    if len(proposal.located) > SITES:
        yield f"  … and {len(proposal.located) - SITES} that carry less"
    if proposal.inserted:
        yield f"a part of its own is inserted: {proposal.inserted}"
    where = ", ".join(proposal.parts)
    tuned = f", tuned on {proposal.tuned} other places that ask the same" if proposal.tuned else ""
    yield f"in program/edits.py ({where}){tuned}:"
    yield ""
    yield from (f"    {line}".rstrip() for line in text.split("\n"))
    yield ""


def ready_lines(ready: Ready, figures: dict[str, Any]) -> Iterator[str]:
    """A prediction."""
    found = ready.forecast
    yield (
        f"predicted: speaks at {found.speaks} places on {found.rows} rows of held-out text ({found.positions:,} "
        f"positions); {figures['changed']} top tokens change"
    )
    yield from _places(figures["places"])
    if ready.margin is not None:
        yield f"predicted margin at the worst place that it was tuned on: {ready.margin:+.2f}"
    for doubt in ready.doubts:
        yield f"not sure: {doubt}"


def record_lines(record: Record) -> Iterator[str]:
    """An edit that was made, and what was measured."""
    found = record.measurement or {}
    yield f"edit {record.name} made in {', '.join(record.parts)}; undo it with --undo {record.number}"
    if record.kind == "hand":
        yield f"measured: {found['changed']} of {found['positions']:,} top tokens changed; KL {found['kl']:.2e}"
        return
    r = found["correlation"]
    yield (
        f"measured: {found['changed']} top tokens changed; r {'–' if r is None else f'{r:.4f}'} with the prediction, "
        f"over {found['compared']} logits, {found['sign_errors']} sign errors, {found['surprises']} surprises, "
        f"{found['false_alarms']} false alarms"
    )
    yield from _places(found["places"])
    yield from moved_lines(record.lines)


def moved_lines(moved: Sequence[MovedLine]) -> Iterator[str]:
    """Lines of tables that say what the program says now."""
    for line in moved:
        yield f"{line.table}  {line.key!r} is answered by {line.now!r}, and by {line.was!r} no more"


def _places(places: Sequence[dict[str, Any]]) -> Iterator[str]:
    for place in places:
        yield f"  {place['text']!r}  {place['before']!r} -> {place['after']!r} by {place['by']:+.2f}"


def list_lines(records: Sequence[Record]) -> Iterator[str]:
    """All edits, a line each."""
    if not records:
        yield "no edits"
    for record in records:
        state = f"undone {record.undone}" if record.undone else ", ".join(record.parts)
        yield f"{record.name}  {record.date}  {record.kind:<9}{state:<24}{record.why}"

"""What was measured of accounts, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pellucid.accounts.folder import FOLDER
from pellucid.accounts.ties.show import lines as tie_lines

METRICS = {
    "covered": "covered by reliable rules",
    "precision": "right where covered",
    "top1": "top-1, with the back-off elsewhere",
    "back_off": "top-1 of the back-off alone",
}
RULES, KINDS = 20, 10
"""Rules, and kinds of position, that are listed."""


def lines(figures: dict[str, Any] | None) -> list[str]:
    """The figures of accounts, line by line."""
    if figures is None:
        return [f"no accounts: {FOLDER}/ holds none; docs/accounts.md says how one is written"]
    rules, n = figures["rules"], figures["positions"]
    head = f"{many(len(figures['files']), 'account')}, {many(len(rules), 'rule')}, {figures['symbols']:,} symbols"
    found = [
        f"{head} ({figures['numbers']:,} numbers by the source budget)",
        f"on {n['heldout']:,} positions of held-out text, {n['hard']:,} of them hard; 95 % intervals",
        "",
        f"{'':<36}{'all positions':>24}{'hard positions':>24}",
    ]
    found += [
        f"{label:<36}{share(figures['all'][name]):>24}{share(figures['hard'][name]):>24}"
        for name, label in METRICS.items()
    ]
    found += ["", f"The back-off is {figures['back_off']} ({n['fit']:,} positions).", ""]
    found += [*_counted(figures), "", *_uncovered(figures), ""]
    often = sorted(rules, key=lambda rule: -rule["heldout"]["n"])
    found += [_rule(rule) for rule in often[:RULES]]
    left = len(rules) - RULES
    found += [f"… and {many(left, 'more rule')}"] if left > 0 else []
    ties = [*tie_lines(figures["variables"])]
    return [*found, "", "What carries the variables:", *ties] if ties else found


def _counted(figures: dict[str, Any]) -> Iterator[str]:
    """What is counted of tables and of ties."""
    tables, ties = figures["tables"], figures["ties"]
    if tables["flagged"]:
        yield (
            f"Of {tables['flagged']:,} lines of tables that were asked, {share(tables['phantoms'])} are phantoms: the "
            f"text never says so; {tables['otherwise']:,} are told otherwise."
        )
    held = f"hold in {ties['hold']:,} of {ties['measured']:,}" if ties["measured"] else "are not measured"
    yield f"Ties of {many(ties['variables'], 'variable')} {held}."


def _uncovered(figures: dict[str, Any]) -> Iterator[str]:
    """The largest kinds of position that nothing covers."""
    found, n = figures["uncovered"], figures["positions"]["heldout"]
    yield (
        f"What nothing covers: {found['places']:,} positions ({100 * found['places'] / n:.1f} %); no rule speaks at "
        f"{found['silent']:,} of them. By what stands before, the largest:"
    )
    for kind in found["kinds"][:KINDS]:
        says = ", ".join(f"{text!r} {count:,}" for text, count in kind["says"])
        right = f"right {100 * kind['right']['value']:.1f} %"
        yield f"{kind['n']:>7,}  {kind['behind']!r:<52} {right:<14} the model says {says}"
    if left := found["places"] - sum(kind["n"] for kind in found["kinds"][:KINDS]):
        yield f"{left:>7,}  elsewhere"


def many(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def share(entry: dict[str, Any]) -> str:
    """A share in percent with its interval; a dash where nothing was measured."""
    if entry["value"] is None:
        return "–"
    return f"{100 * entry['value']:.1f} % [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"


def _rule(rule: dict[str, Any]) -> str:
    held, covers = rule["heldout"], "" if rule["covers"] else "  (not reliable)"
    return f"{rule['at']:<16} {held['n']:>7,} times, right {share(held):<24} {rule['text'][:60]}{covers}"


def marks(found: dict[str, Any]) -> list[str]:
    """The marks of a reader, line by line."""
    changes = found["changes"]
    balanced = "–" if changes["balanced"] is None else f"{100 * changes['balanced']:.1f} %"
    rows = [
        (f"next token, {of}", share(entry["right"]), share(entry["majority"])) for of, entry in found["next"].items()
    ]
    rows += [("which prompts change, balanced", balanced, "–" if changes["majority"] is None else "50.0 %")]
    head = f"{found['answered']} of {found['questions']} questions answered; what was not counts as wrong"
    return [
        head,
        "",
        f"{'':<36}{'reader':>24}{'commonest answer':>24}",
        *(f"{a:<36}{b:>24}{c:>24}" for a, b, c in rows),
    ]

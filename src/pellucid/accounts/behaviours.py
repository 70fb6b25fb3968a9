"""Accounts for the page: their files with rules, variables and tables, read and not run, and no more than can be read.

What is left out of a large account is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.accounts.described import Catalogue, catalogue
from pellucid.accounts.folder import Folder
from pellucid.accounts.kinds import slots_of
from pellucid.accounts.language import ReturnRule, Table
from pellucid.accounts.tallies import holds
from pellucid.accounts.ties.variables import quantities
from pellucid.accounts.uses import AccountPage, VariableUse
from pellucid.project.project import REPORT, Project

FILES, RULES, SOURCE = 300, 100, 400
"""Files that are shown, the rules of a file, and its lines."""
CLASSES, MEMBERS = 300, 12
"""Classes of which members are shown, and how many."""
LINES, ALL_LINES = 200, 20_000
"""Lines of a table that are shown, and of all of them."""
Counts = Mapping[str, Sequence[int]]
"""By key at how many places a line was looked up, and at how many that was right."""


def behaviours(project: Project) -> dict[str, Any] | None:
    """What the accounts of `project` say, file by file, as its page shows it; None where there are none."""
    found = catalogue(project, {})
    if found is None or not found.pages:
        return None
    figures = (project.report().get("accounts") if (project.directory / REPORT).is_file() else None) or {}
    shown = found.pages[:FILES]
    labels = {(file, one.name): one.label for one in quantities(found.pages) for file in one.files}
    tied = {place: figures.get("variables", {}).get(label) for place, label in labels.items()}
    used = dict.fromkeys(name for page in shown for name in _used(page, found))
    return {
        "files": [_file(page, found, tied) for page in shown],
        "more": len(found.pages) - len(shown),
        "classes": _classes(Folder(project)),
        "tables": _tables(list(used), found, figures.get("lines", {})),
    }


def _classes(folder: Folder) -> dict[str, Any]:
    """What the slots of patterns stand for: some members of each class, and how many it has."""
    found: dict[str, list[str]] = {}
    for member, slot in slots_of(folder).items():
        found.setdefault(slot.strip("{}"), []).append(member)
    return {name: {"some": sorted(own)[:MEMBERS], "n": len(own)} for name, own in [*sorted(found.items())][:CLASSES]}


def _file(page: AccountPage, found: Catalogue, tied: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    lines = page.text.rstrip("\n").split("\n")
    rules = [_rule(rule, found.figures.get((str(rule), rule.text))) for rule, _ in page.rules]
    return {
        "file": page.file,
        "about": page.about,
        "source": "\n".join(lines[:SOURCE]),
        "more_source": max(0, len(lines) - SOURCE),
        "places": _sum(rules, "n"),
        "right": _sum(rules, "right"),
        "covers": sum(rule["covers"] for rule in rules),
        "rules": sorted(rules, key=lambda rule: -(rule["n"] or 0))[:RULES],
        "more_rules": max(0, len(rules) - RULES),
        "variables": [_variable(told, tied.get((page.file, name))) for name, told in page.variables.items()],
        "tables": _used(page, found),
    }


def _used(page: AccountPage, found: Catalogue) -> list[str]:
    """The tables on which rules of a file hang."""
    own = [name for name in dict.fromkeys(page.files.values()) if name in found.tables.tables]
    return [name for name in own if any(page.uses(names, name) for _, names in page.rules)]


def _rule(rule: ReturnRule, measured: Mapping[str, Any] | None) -> dict[str, Any]:
    """A rule, at how many held-out places it speaks, and at how many it is right; None where that is not measured."""
    held = measured["heldout"] if measured else None
    right = None if held is None else round((held["value"] or 0.0) * held["n"])
    return {
        "line": rule.line,
        "text": rule.text,
        "n": held and held["n"],
        "right": right,
        "share": held,
        "covers": bool(measured and measured["covers"]),
    }


def _sum(rules: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """The sum of what was measured of rules; None where nothing was."""
    known = [rule[name] for rule in rules if rule[name] is not None]
    return sum(known) if known else None


def _variable(told: VariableUse, measured: Mapping[str, Any] | None) -> dict[str, Any]:
    """A variable with its tie, as it was measured and as its file says."""
    found = measured and measured.get("measured")
    return {
        "name": told.name,
        "says": told.says,
        "line": told.line,
        "tie": told.tie,
        "moved": told.moved,
        "measured": found,
        "holds": holds(found) if found else None,
    }


def _tables(names: Sequence[str], found: Catalogue, counted: Mapping[str, Counts]) -> dict[str, Any]:
    """Tables by the names of their files: columns, lines, and how often each was looked up and right."""
    left, shown = ALL_LINES, {}
    for name in names:
        table, asked = found.tables.tables[name], found.tables.asked.get(name)
        keys = list(table.lines)[: min(LINES, left)]
        left -= len(keys)
        shown[name] = {
            "asks": list(asked.asks) if asked else [],
            "columns": list(table.columns),
            "lines": [_line(table, key, counted.get(name, {})) for key in keys],
            "more": len(table.lines) - len(keys),
        }
    return shown


def _line(table: Table, key: str, counted: Counts) -> list[Any]:
    """The cells of a line, then at how many places it was looked up, and was right."""
    return [*table.lines[key], *counted.get(key, [0, 0])]

"""How much of the accounts of a model is found again: with other rows of its fit text, and on either half of it.

Two sets of accounts are compared as `pellucid diff` compares them, whatever tables and classes are called, and place by
place on check text, so that a rule counts by the places at which it speaks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

from jaxtyping import Int
from torch import Tensor

from accounts_renamed import without_accounts
from pellucid.accounts.asked import YES
from pellucid.accounts.find import command
from pellucid.accounts.find.command import find_accounts
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Said
from pellucid.accounts.measure import POSITIONS, RowsRead, likeliest, rows_of
from pellucid.accounts.paired import ReadFolder, Stated, pairs, stated
from pellucid.base.progress import track
from pellucid.corpus.packing import packed_rows
from pellucid.project.project import Project

SEEDS = (0, 1, 2)
TOKENS = 200_000
"""Of fit text that each is found on, as at the end of a decompilation."""
COMPARED = 15_000
"""Places of check text on which two are compared."""
MEASURES = {
    "same token": "places where either speaks: both say the same token",
    "same rule": "of these: by rules that say the same",
    "same rule and conditions": "of these: also on the same conditions",
    "same lines": "places where either looks up a line: both look up the same, with the same answer",
    "tables": "tables of either that both have",
    "lines": "lines of tables of either that both have, with the same answer",
    "asked lines": "of those that were asked and the text tells",
}
Rows = Callable[[Project, str, int], Int[Tensor, "row pos"]]


def stability(project: Project, root: Path, tokens: int = TOKENS) -> dict[str, Any]:
    """Overlap of accounts under three seeds and of two halves of the text, found on `tokens` each, below `root`."""
    ids = rows_of(project, "check", COMPARED)
    seeds = [Found.of(project, root / f"seed-{seed}", drawn_by(seed), tokens, ids) for seed in SEEDS]
    halves = [Found.of(project, root / f"half-{half}", half_of(half), tokens, ids) for half in (0, 1)]
    return {
        "tokens": tokens,
        "places": ids.numel(),
        "rules": [[len(found.says) for found in group] for group in (seeds, halves)],
        "seeds": _mean([overlap(one, other) for one, other in combinations(seeds, 2)]),
        "halves": overlap(*halves),
    }


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean(one[name] for one in found) for name in MEASURES}


# --- finding ----------------------------------------------------------------------------------------------------------


def drawn_by(seed: int) -> Rows:
    """Rows that are drawn by a seed."""

    def rows(project: Project, name: str, count: int) -> Int[Tensor, "row pos"]:
        return packed_rows(project.texts.named[name], project.model, count, seed)

    return rows


def half_of(half: int) -> Rows:
    """Every other row; of tune text all, since nothing is found on it."""

    def rows(project: Project, name: str, count: int) -> Int[Tensor, "row pos"]:
        seed = project.manifest.settings.seed
        split = project.texts.named[name]
        if name != "fit":
            return packed_rows(split, project.model, count, seed)
        return packed_rows(split, project.model, 2 * count, seed)[half::2]

    return rows


@contextmanager
def reading(rows: Rows) -> Iterator[None]:
    """Let accounts be found on these rows."""
    known = command.read

    def read(project: Project, name: str, positions: int | None = None) -> RowsRead:
        positions = positions or POSITIONS[name]
        ids = rows(project, name, max(1, positions // project.model.n_ctx))
        return RowsRead(ids, likeliest(project.model, ids, f"reading {name} text"))

    command.read = read  # type: ignore[attr-defined]
    try:
        yield
    finally:
        command.read = known  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Found:
    """Accounts, and what they say on the same text."""

    side: ReadFolder
    says: Mapping[tuple[str, int], Stated]
    """The rules by file and line."""
    places: Sequence[Said | None]
    rules: Sequence[tuple[str, int]]

    @staticmethod
    def of(project: Project, target: Path, rows: Rows, tokens: int, ids: Int[Tensor, "row pos"]) -> Found:
        """Those that are found in a copy of `project` at `target` on other rows."""
        without_accounts(project.directory, target)
        made = Project.open(target, trust=True)
        with reading(rows):
            find_accounts(made, tokens)
        return Found.read(Project.open(target, trust=True), ids)

    @staticmethod
    def read(project: Project, ids: Int[Tensor, "row pos"]) -> Found:
        """The accounts of a directory as they stand."""
        folder = Folder(project)
        side, accounts = ReadFolder.of(folder), folder.accounts()
        says = {rule.place: rule for rule in stated(side)}
        said = [one for row in track(ids.tolist(), "asking the accounts", len(ids)) for one in accounts.said(row)]
        return Found(side, says, said, [(rule.file, rule.line) for rule in accounts.rules])


# --- comparing --------------------------------------------------------------------------------------------------------


def overlap(one: Found, other: Found) -> dict[str, float]:
    """The shares of `MEASURES` of two sets of accounts."""
    same = pairs(one.side, other.side)
    renamed = {rule.place: rule for rule in stated(one.side, lambda name: same.get(name, name))}
    seen = Counter[str]()
    for mine, theirs in zip(one.places, other.places, strict=True):
        if mine is None and theirs is None:
            continue
        seen["speaks"] += 1
        if mine and theirs:
            rules = renamed[one.rules[mine.rule]], other.says[other.rules[theirs.rule]]
            token = mine.token == theirs.token
            alike = token and rules[0].answer == rules[1].answer
            seen.update({"same token": token, "same rule": alike})
            seen.update({"same rule and conditions": alike and rules[0].key == rules[1].key})
        lines = [{(same.get(name, name), key) for name, key in mine.lines} if mine else set()]
        lines.append(set(theirs.lines) if theirs else set())
        if any(lines):
            seen["looks up"] += 1
            seen["same lines"] += lines[0] == lines[1] and mine.token == theirs.token  # type: ignore[union-attr]
    shares = {name: seen[name] / max(1, seen["speaks"]) for name in list(MEASURES)[:3]}
    shares["same lines"] = seen["same lines"] / max(1, seen["looks up"])
    return shares | tables_in_both(one.side, other.side, same)


def tables_in_both(one: ReadFolder, other: ReadFolder, same: Mapping[str, str]) -> dict[str, float]:
    """How many tables, lines, and lines that were asked and are told, both sides have of those that either has."""
    shared = {name for name in same if name in one.tables}
    either = len(one.tables) + len(other.tables) - len(shared)
    mine = {(same.get(name, f"one {name}"), *line[:2]): line for name, line in _lines(one)}
    theirs = {(name, *line[:2]): line for name, line in _lines(other)}
    told = [{key for key, line in side.items() if YES in line[2:]} for side in (mine, theirs)]
    both = mine.keys() & theirs.keys()
    return {
        "tables": len(shared) / max(1, either),
        "lines": len(both) / max(1, len(mine.keys() | theirs.keys())),
        "asked lines": len(both & (told[0] | told[1])) / max(1, len(told[0] | told[1])),
    }


def _lines(side: ReadFolder) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from ((name, cells) for name, table in side.tables.items() for cells in table.lines.values())


def stability_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found, as a table."""
    seeds, halves = (", ".join(map(str, rules)) for rules in found["rules"])
    yield f"found on {found['tokens']:,} tokens each, compared on {found['places']:,} places"
    yield f"rules with three seeds {seeds}, of both halves {halves}"
    yield ""
    yield "| found again, % | three seeds, mean of pairs | two halves of the text |\n|---|---:|---:|"
    for name, label in MEASURES.items():
        yield f"| {label} | {100 * found['seeds'][name]:.1f} | {100 * found['halves'][name]:.1f} |"

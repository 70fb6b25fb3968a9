"""What differs between two directories with accounts: what their programs say, and what their accounts do, worst first.

How the programs differ is found from both (`compare`). The accounts of both are asked at every place of check text.
Where they say different things, that is booked on all that differs and had to do with it there: lines that were looked
up, rules that spoke, classes that these rules use. Accounts that were found twice differ in much that no program bears
out, so that of this only what a person wrote or changed is listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Int
from torch import Tensor

from pellucid.accounts import own_work
from pellucid.accounts.compare.programs import Apart, apart, apart_lines
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import TABLES, Accounts, Said, Table
from pellucid.accounts.measure import rows_of
from pellucid.accounts.meter import NOBODY
from pellucid.accounts.paired import ReadFolder, Stated, pairs, stated
from pellucid.base.progress import track
from pellucid.exact.predictor import Predictor
from pellucid.project.project import Project

SHOWN = 20
"""Differences that are listed."""
WIDE = 200
"""Letters of what each says."""
BATCH = 16
DifferenceKind = Literal["line", "table", "class", "rule"]


@dataclass(frozen=True)
class Differing:
    """Something that differs: where it stands after or else before, what it is there, and how much of text it changes.

    A side that has it not is None. Of a line `key` is its key, of a class both sides are the members they alone have.
    `borne_out` is at how many of these places both programs say what their accounts say.
    """

    kind: DifferenceKind
    at: str
    key: str | None
    before: str | None
    after: str | None
    what: str
    """The same in a line."""
    by_hand: bool = False
    """Whether a person wrote or changed the file that it is in, on either side."""
    changed: int = 0
    borne_out: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class AccountsDifference:
    """All that differs, and on how many of how many places of check text the accounts say something else."""

    programs: Apart
    differing: tuple[Differing, ...]
    positions: int
    changed: int
    borne_out: int
    elsewhere: int
    """Of those changed, where nothing of it had to do with that."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        counts = {"positions": self.positions, "changed": self.changed, "borne_out": self.borne_out}
        differing = [asdict(entry) for entry in self.differing]
        return {"programs": self.programs.to_dict(), **counts, "elsewhere": self.elsewhere, "differing": differing}


def difference(project: Project, other: Project, programs: tuple[Predictor, Predictor]) -> AccountsDifference | None:
    """The accounts of `project` (after) beside those of `other` (before); None where neither has any.

    `programs` are those of both, before and after. The worst comes first: what is borne out most often, then what
    changes most. Raises `ProjectError` if some are a stranger's, `SourceError` naming file and line for what is broken.
    """
    folders = Folder(other), Folder(project)
    if not any(folder.files for folder in folders):
        return None
    accounts = tuple(folder.accounts() for folder in folders)
    between = apart(project, other, programs)
    found = DifferencesFound.of(ReadFolder.of(folders[0]), ReadFolder.of(folders[1]), _by_hand(folders))
    ids = rows_of(project, "check")
    own = [_said(program, ids) for program in programs]
    changed, borne_out, totals = Counter[int](), Counter[int](), Counter[str]()
    for row, *says in track(zip(ids.tolist(), *own, strict=True), "comparing accounts", len(ids)):
        both = [side.said(row) for side in accounts]
        for before, after, was, now in zip(*both, *says, strict=True):
            if _token(before) != _token(after):
                causes = found.causes(accounts, (before, after))
                borne = (_token(before), _token(after)) == (was, now)
                changed.update(causes)
                borne_out.update(causes if borne else ())
                totals.update({"changed": 1, "borne_out": borne, "elsewhere": not causes})
    entries = [
        replace(entry, changed=changed[at], borne_out=borne_out[at], share=changed[at] / ids.numel())
        for at, entry in enumerate(found.entries)
    ]
    ordered = tuple(sorted(entries, key=lambda entry: (-entry.borne_out, -entry.changed)))
    return AccountsDifference(
        between, ordered, ids.numel(), totals["changed"], totals["borne_out"], totals["elsewhere"]
    )


def _by_hand(folders: Sequence[Folder]) -> frozenset[str]:
    """The names of accounts, tables and classes that a person wrote or changed in one of the folders."""
    files = [(folder, path.name, name) for folder in folders for path, name in _files(folder)]
    return frozenset(short for folder, short, name in files if not own_work.is_own(folder.project, name))


def _files(folder: Folder) -> Iterator[tuple[Path, str]]:
    yield from ((path, path.name) for path in folder.texts)
    yield from ((path, f"{TABLES}/{path.name}") for path in folder.tables)


def _said(program: Predictor, ids: Int[Tensor, "row pos"]) -> list[list[int]]:
    """What a program says behind each token, as much of it as it reads."""
    length = min(ids.shape[1], program.n_ctx)
    found: list[list[int]] = []
    for start in track(range(0, len(ids), BATCH), "asking both programs", -(-len(ids) // BATCH)):
        top = program.extend(ids[start : start + BATCH, :length].numpy())[0].argmax(-1)
        found += [[*row, *[NOBODY] * (ids.shape[1] - length)] for row in top.tolist()]
    return found


def _token(said: Said | None) -> int | None:
    return said.token if said else None


# --- what differs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Booking:
    """What differs of one side, by the numbers of the differences."""

    lines: dict[tuple[str, str], int]
    """By table and key."""
    tables: dict[str, int]
    """Those that the other side has not, by name."""
    rules: dict[tuple[str, int], list[int]]
    """By file and line: the rule itself, and the classes that it uses."""

    def causes(self, accounts: Accounts, said: Said | None) -> tuple[list[int], list[int]]:
        """The lines that differ and were looked up for what is said, and all else that had to do with it."""
        if said is None:
            return [], []
        rule = accounts.rules[said.rule]
        lines = [self.lines[line] for line in said.lines if line in self.lines]
        tables = [self.tables[name] for name, _ in said.lines if name in self.tables]
        return lines, [*tables, *self.rules.get((rule.file, rule.line), ())]


@dataclass(frozen=True)
class DifferencesFound:
    """All that differs, before it is known how much it changes."""

    entries: Sequence[Differing]
    sides: tuple[Booking, Booking]
    """Before and after."""

    def causes(self, accounts: Sequence[Accounts], said: Sequence[Said | None]) -> set[int]:
        """What had to do with it that two sides disagree: lines alone, where some that differ were looked up."""
        found = [side.causes(own, what) for side, own, what in zip(self.sides, accounts, said, strict=True)]
        lines = {number for own, _ in found for number in own}
        return lines or {number for _, others in found for number in others}

    @staticmethod
    def of(before: ReadFolder, after: ReadFolder, by_hand: frozenset[str] = frozenset()) -> DifferencesFound:
        """Compare two sides; files `by_hand` are a person's."""
        same = pairs(before, after)
        entries: list[Differing] = []
        sides = Booking({}, {}, {}), Booking({}, {}, {})
        for entry, *names in _lines(before, after, same):
            for side, name in zip(sides, names, strict=True):
                side.lines[name, str(entry.key)] = len(entries)
            entries.append(replace(entry, by_hand=not by_hand.isdisjoint(names)))
        for side, of, known, is_after in zip(sides, (before, after), (same, same.values()), (False, True), strict=True):
            for name in (name for name in of.tables if name not in known):
                side.tables[name] = len(entries)
                entries.append(replace(_only(name, of.tables[name], is_after=is_after), by_hand=name in by_hand))
        classes: tuple[dict[str, int], ...] = ({}, {})
        for entry, *names in _classes(before, after, same):
            for numbers, name in zip(classes, names, strict=True):
                numbers[name] = len(entries)
            entries.append(replace(entry, by_hand=not by_hand.isdisjoint(names)))
        rules = list(stated(before, lambda name: same.get(name, name))), list(stated(after))
        for pair in _rules(*rules):
            for side, rule in zip(sides, pair, strict=True):
                if rule:
                    side.rules.setdefault(rule.place, []).append(len(entries))
            files = {file for rule in pair if rule for file in (rule.rule.file, *rule.files)}
            entries.append(replace(_rule(*pair), by_hand=not by_hand.isdisjoint(files)))
        for side, numbers, all_rules in zip(sides, classes, rules, strict=True):
            for rule in all_rules:
                used = [numbers[file] for file in sorted(rule.files) if file in numbers]
                side.rules.setdefault(rule.place, []).extend(used)
        return DifferencesFound(entries, sides)


def _lines(before: ReadFolder, after: ReadFolder, same: Mapping[str, str]) -> Iterator[tuple[Differing, str, str]]:
    """Lines of pairs of tables that differ, with the names of both tables."""
    for old, new in ((old, same[old]) for old in before.tables if old in same):
        one, two = before.tables[old], after.tables[new]
        for key in dict.fromkeys([*two.lines, *one.lines]):
            if one[key] != two[key]:
                at = f"{new}:{two.numbers[key]}" if key in two else f"{old}:{one.numbers[key]}"
                was, now = ("nothing" if answer is None else repr(answer) for answer in (one[key], two[key]))
                yield Differing("line", at, key, one[key], two[key], f"{key!r}: {was} -> {now}"), old, new


def _only(name: str, table: Table, *, is_after: bool) -> Differing:
    """A table that one side has alone."""
    first = next(iter(table.lines), None)
    such = f", such as {first!r} -> {table[first]!r}" if first is not None else ""
    what = f"{len(table.lines):,} lines{such}"
    said = f"is {'new' if is_after else 'gone'}: {what}"
    return Differing("table", name, None, None if is_after else what, what if is_after else None, said)


def _classes(before: ReadFolder, after: ReadFolder, same: Mapping[str, str]) -> Iterator[tuple[Differing, str, str]]:
    """Classes whose members differ; one that one side has alone differs with the rules that use it."""
    for old, new in ((old, same[old]) for old in before.classes if old in same):
        one, two = before.classes[old], after.classes[new]
        if one != two:
            gone, come = (", ".join(sorted(members)) or None for members in (one - two, two - one))
            said = ", ".join(f"{how} {members}" for how, members in (("without", gone), ("with", come)) if members)
            yield Differing("class", new, None, gone, come, said), old, new


def _rules(before: Sequence[Stated], after: Sequence[Stated]) -> Iterator[tuple[Stated | None, Stated | None]]:
    """Rules that differ; those that say the same on other conditions in pairs, in the order in which they stand."""
    counts = Counter(rule.key for rule in before) & Counter(rule.key for rule in after)
    left = [_without(rules, counts) for rules in (before, after)]
    for two in left[1]:
        one = next((rule for rule in left[0] if rule.answer == two.answer), None)
        if one:
            left[0].remove(one)
        yield one, two
    yield from ((one, None) for one in left[0])


def _without(rules: Sequence[Stated], counts: Counter[tuple[str, ...]]) -> list[Stated]:
    """The rules that are beyond those counted."""
    left = Counter(counts)
    found = []
    for rule in rules:
        if left[rule.key]:
            left[rule.key] -= 1
        else:
            found.append(rule)
    return found


def _rule(before: Stated | None, after: Stated | None) -> Differing:
    """A rule that one side has alone, or that stands under other conditions."""
    if before and after:
        gone, come = (sorted(one.texts - other.texts) for one, other in ((before, after), (after, before)))
        sides = ((", ".join(map(repr, texts)), how) for texts, how in ((come, "also for"), (gone, "no more for")))
        other = "; ".join(f"{how} {texts}" for texts, how in sides if texts)
        what = f"{other}: {after.says}" if other else f"{after}, before {before}"
        return Differing("rule", str(after.rule), None, str(before), str(after), what)
    if after:
        return Differing("rule", str(after.rule), None, None, str(after), f"is new: {after}")
    assert before is not None
    return Differing("rule", str(before.rule), None, str(before), None, f"is gone: {before}")


# --- in the terminal --------------------------------------------------------------------------------------------------


def difference_lines(found: AccountsDifference) -> Iterator[str]:
    """A difference to read, a line each, the worst first: of the programs, then of the accounts."""
    yield from apart_lines(found.programs)
    yield ""
    count = f"{found.changed:,} of {found.positions:,} places of check text ({found.changed / found.positions:.2%})"
    if not found.differing:
        yield "the accounts are the same"
        return
    yield f"accounts differ in {len(found.differing):,} things: something else is said at {count},"
    shown = [entry for entry in found.differing if entry.borne_out or entry.by_hand]
    how = "; so often by what, the worst first:" if shown else ""
    yield f"at {found.borne_out:,} of them by the programs too{how}"
    for entry in shown[:SHOWN]:
        what = entry.what if len(entry.what) <= WIDE else f"{entry.what[:WIDE]}…"
        yield f"{entry.changed:>7,}{entry.borne_out:>7,}  {entry.at}  {what}"
    if (left := len(shown) - SHOWN) > 0:
        yield f"… and {left:,} more"
    if otherwise := len(found.differing) - len(shown):
        yield f"found another way, with no program that bears it out: {otherwise:,}"
    if found.elsewhere:
        yield f"at {found.elsewhere:,} places nothing of this decides: rules come in another order"

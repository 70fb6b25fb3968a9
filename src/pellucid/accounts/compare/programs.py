"""How two programs differ on the same text: lines of tables and patterns, by the share of text that they change.

Only where each program surely says something else is anything told of it. Lines of tables come from asking both
programs; what is left is told by what stands before it, with the rules of either side that speak there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pellucid.accounts.asked import TableWordings, read
from pellucid.accounts.compare.conditions import Cluster, Field, clusters
from pellucid.accounts.compare.lines import LineMoved, lines_moved, questions
from pellucid.accounts.compare.readings import SURE, PairedReadings, Programs, read_both, text_of
from pellucid.accounts.find.stream import FlatRows, Places, Words
from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import AccountError, Accounts, Table
from pellucid.accounts.paired import ReadFolder, pairs
from pellucid.base.errors import SourceError
from pellucid.project.project import Project

CONSTANT = 0.95
"""An element of a pattern is told where it is the same at this share of the places."""
LOOKED_AT = 12
"""Places of a pattern at which it is asked which rules speak."""
LISTED = 40
"""Lines and patterns that are listed."""
NEVER_TOLD = 3
"""Lines that no text ever says, and that are listed all the same."""
ANSWERS = 3
"""Pairs of tokens that are told of a pattern."""
Sides = tuple[Folder, Folder]


@dataclass(frozen=True)
class ProgramChange:
    """Something that two programs say differently: a line of a table, or what comes behind a pattern.

    `changed` is at how many places they surely do, of `of` that the pattern fits, None for a line. `rules` are those
    that speak there before and after, None for no account.
    """

    kind: Literal["line", "pattern"]
    at: str | None
    key: str | None
    what: str
    """It in a line."""
    changed: int
    of: int | None
    share: float
    rules: tuple[str | None, str | None]


@dataclass(frozen=True)
class Apart:
    """How two programs differ on text: at how many places at all, how many surely, and of how many nothing is told."""

    positions: int
    differing: int
    sure: int
    untold: int
    changes: tuple[ProgramChange, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        changes = [asdict(change) | {"rules": list(change.rules)} for change in self.changes]
        return asdict(self) | {"changes": changes}


def apart(project: Project, other: Project, programs: Programs) -> Apart:
    """How the program of `project` (after) differs from that of `other` (before); `programs` are before and after.

    Raises `SourceError` naming file and line for what is broken in their accounts.
    """
    readings = read_both(programs, text_of(project, other))
    sides = Folder(other), Folder(project)
    held = ReadFolder.of(sides[0]), ReadFolder.of(sides[1])
    tables = [_asked(folder, side) for folder, side in zip(sides, held, strict=True)]
    lines = list(lines_moved(programs, questions(tables[0], tables[1], pairs(*held)), project.model.tokenizer))
    sure = readings.sure.ravel() >= SURE
    differing = int((readings.before != readings.after).sum())
    told, untold = list[ProgramChange](), 0
    if lines or sure.any():
        told, untold = _Telling.of(readings, sides, held).all(lines, np.flatnonzero(sure))
    return Apart(readings.ids.size, differing, int(sure.sum()), untold, tuple(told))


def _asked(folder: Folder, side: ReadFolder) -> Mapping[str, tuple[Table, TableWordings]]:
    """The tables of a side that were asked of its model, with how."""
    asked = {name: read(folder.project, name) for name in side.tables}
    return {name: (side.tables[name], found) for name, found in asked.items() if found}


@dataclass(frozen=True)
class _Telling:
    """Tells what places have in common."""

    readings: PairedReadings
    stream: FlatRows
    accounts: tuple[Accounts, Accounts]
    classes: Mapping[str, frozenset[str]]

    @staticmethod
    def of(readings: PairedReadings, sides: Sides, held: Sequence[ReadFolder]) -> _Telling:
        words = Words(sides[1].spelling)
        stream = FlatRows.of(readings.ids, readings.after, words)
        classes = {name.rpartition(".")[0]: members for side in held for name, members in side.classes.items()}
        return _Telling(readings, stream, (sides[0].accounts(), sides[1].accounts()), classes)

    def all(self, lines: Sequence[LineMoved], places: Places) -> tuple[list[ProgramChange], int]:
        """Everything that differs, what changes most first, and how many places nothing is said of."""
        left = places
        found: list[ProgramChange] = []
        unsaid: list[ProgramChange] = []
        for line in lines:
            mine = np.array([self._asks(line, place) for place in left.tolist()], bool)
            (found if line.told or mine.any() else unsaid).append(self._line(line, int(mine.sum())))
            left = left[~mine]
        field = Field(self.stream)
        for cluster in clusters(field, left):
            found.append(self._pattern(field, cluster))
            left = np.setdiff1d(left, cluster.places)
        return [*sorted(found, key=lambda change: -change.changed), *unsaid], len(left)

    def _line(self, line: LineMoved, count: int) -> ProgramChange:
        at = line.table if line.number is None else f"{line.table}:{line.number}"
        never = "" if line.told or count else "; the text never says so"
        said = f"{line.key!r}: {line.before!r} -> {line.after!r}, in {line.wordings} of {line.asked} wordings{never}"
        return ProgramChange("line", at, line.key, said, count, None, count / len(self.stream), (None, None))

    def _asks(self, line: LineMoved, place: int) -> bool:
        """Whether a place is one of a line: what is said there is what its answers part in, and its key is before."""
        pair = int(self.readings.before.flat[place]), int(self.readings.after.flat[place])
        return pair in line.tokens and line.key in self._text(place)

    def _text(self, place: int) -> str:
        """The text before a place from the sentence before its own on."""
        start = int(self.stream.sentence[place])
        if start > self.stream.begins[place]:
            start = max(int(self.stream.stretch[start - 1]), int(self.stream.begins[place]))
        pieces = self.stream.words.spelling.pieces
        return "".join(pieces[token] for token in self.stream.ids[start : place + 1].tolist())

    def _pattern(self, field: Field, cluster: Cluster) -> ProgramChange:
        texts = self.stream.words.texts
        behind = f"behind {self._elements(field, cluster)!r}" if cluster.depth else ""
        lately = ", ".join(repr(texts[word]) for word in cluster.lately)
        where = " ".join(part for part in (behind, f"with {lately} shortly before" if lately else "") if part)
        rules = self._rules(cluster.places)
        before, after = (rule or "no account" for rule in rules)
        by = f"by {after}" if before == after else f"by {after}, before by {before}"
        said = f"{where}: {self._answers(cluster.places)}, {by}"
        count = len(cluster.places)
        return ProgramChange("pattern", rules[1], None, said, count, cluster.n, count / len(self.stream), rules)

    def _elements(self, field: Field, cluster: Cluster) -> str:
        """The words that stand before places of a cluster: one that is the same at most, a class of all, or dots."""
        return "".join(self._element(field.behind[back - 1], cluster.places) for back in range(cluster.depth, 0, -1))

    def _element(self, word: Places, places: Places) -> str:
        spelling = self.stream.words.spelling
        seen = Counter(word[places].tolist())
        common, count = seen.most_common(1)[0]
        texts = {self.stream.words.texts[one] if one >= 0 else "" for one in seen}
        gap = " " if spelling.spaced and all(text[:1].isalnum() for text in texts) else ""
        if count >= CONSTANT * len(places):
            return gap + (self.stream.words.texts[common] if common >= 0 else "")
        name = next((name for name, members in self.classes.items() if texts <= members), None)
        return f"{gap}{{{name}}}" if name else f"{gap}…"

    def _answers(self, places: Places) -> str:
        """What is said at places, before and after, most often first."""
        flat = zip(self.readings.before.flat[places].tolist(), self.readings.after.flat[places].tolist(), strict=True)
        pieces = self.stream.words.spelling.pieces
        seen = Counter((pieces[before], pieces[after]) for before, after in flat).most_common()
        shown = [f"{one!r} -> {other!r}{f' ({n})' if len(seen) > 1 else ''}" for (one, other), n in seen[:ANSWERS]]
        return ", ".join([*shown, *(["…"] if len(seen) > ANSWERS else [])])

    def _rules(self, places: Places) -> tuple[str | None, str | None]:
        """The rules that speak most often at some of these places, before and after."""
        some = places[:: max(1, len(places) // LOOKED_AT)]
        before, after = (Counter(self._spoken(side, some)).most_common(1)[0][0] for side in self.accounts)
        return before, after

    def _spoken(self, accounts: Accounts, places: Places) -> Iterator[str | None]:
        for place in places.tolist():
            row = self.stream.ids[self.stream.begins[place] : place + 1].tolist()
            try:
                said = accounts.supposing(accounts.row(row), {}) if row else None
            except AccountError as error:
                raise SourceError(f"{FOLDER}/{error}") from None
            yield str(accounts.rules[said.rule]) if said else None


def apart_lines(found: Apart) -> Iterator[str]:
    """How two programs differ, a line each, what changes most first."""
    count = f"{found.positions:,} places of text"
    if not found.differing and not found.changes:
        yield f"the programs say the same at all of {count}"
        return
    yield f"the programs surely differ at {found.sure:,} of {count} ({found.sure / found.positions:.2%})"
    never = [change for change in found.changes if change.kind == "line" and not change.changed]
    listed = [change for change in found.changes if change not in never[NEVER_TOLD:]]
    for change in listed[:LISTED]:
        of = f" of {change.of:,}" if change.of is not None else ""
        at = f"{change.at}  " if change.kind == "line" else ""
        yield f"{f'{change.changed:,}{of}':>16} {change.share:>8.3%}  {at}{change.what}"
    if left := len(listed[LISTED:]):
        yield f"{left:>16,} {'':>8}  more lines and patterns"
    if more := never[NEVER_TOLD:]:
        yield f"{len(more):>16,} {'':>8}  more lines of tables that no text read here asks for"
    if found.untold:
        yield f"{found.untold:>16,} {found.untold / found.positions:>8.3%}  elsewhere, with nothing in common"
    if unsure := found.differing - found.sure:
        yield f"{unsure:>16,} {unsure / found.positions:>8.3%}  where one program is not sure"

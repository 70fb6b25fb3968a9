"""What follows from a changed fact: the tables and rules that say something else, or should, once a line does.

Tables are compared as they are: one follows another where nearly all keys with the same answer there have the same
answer here, and turns it round where the answers there are its keys, and its answers their keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pellucid.accounts.language import Table
from pellucid.accounts.lines import Line
from pellucid.accounts.uses import Page

NEARLY = 0.95
"""The share of keys that counts as nearly all."""
FEWEST = 4
"""Keys that must be compared."""
SHOWN = 3
"""Lines that are named of a table."""


@dataclass(frozen=True)
class Follows:
    """A table or rule that a changed line touches, how it does, and of what keys."""

    place: str
    how: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f" and {len(self.keys) - SHOWN} more" if len(self.keys) > SHOWN else ""
        of = f" ({', '.join(map(repr, self.keys[:SHOWN]))}{more})" if self.keys else ""
        return f"{self.place}  {self.how}{of}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def follows(tables: Mapping[str, Table], pages: Sequence[Page], lines: Sequence[Line]) -> list[Follows]:
    """All that follows from `lines` being as they are now."""
    found: list[Follows] = []
    for name in dict.fromkeys(line.table for line in lines):
        changed = [line for line in lines if line.table == name and line.was and line.now]
        found += rules_of(pages, name)
        others = [held for other, held in tables.items() if other != name]
        found += [touched for held in others for touched in _touched(tables[name], held, changed)]
        also = ", ".join(held.name for held in others if any(line.key in held for line in changed))
        found += [Follows(also, "also say something of", tuple(line.key for line in changed))] if also else []
    return found


def rules_of(pages: Sequence[Page], name: str) -> list[Follows]:
    """The rules that hang on a table."""
    return [Follows(str(rule), rule.text) for page in pages for rule, names in page.rules if page.uses(names, name)]


def _touched(changed: Table, held: Table, lines: Sequence[Line]) -> Iterator[Follows]:
    """How a table is touched by lines of another one."""
    was = {key: cells[1] for key, cells in changed.lines.items()} | {line.key: line.was or "" for line in lines}
    yield from _some(held, "says what was said of", [line.key for line in lines if held[line.key] == line.was])
    if share := _determines(was, held):
        keys = [line.key for line in lines if line.key in held]
        yield from _some(held, f"follows from {changed.name} in {share:.0%} of its lines", keys)
    elif _turns(was, held):
        sides = [side for line in lines for side in (line.was, line.now) if side in held]
        yield from _some(held, f"turns {changed.name} round", sides)
    else:
        answers = [side for line in lines for side in (line.was, line.now) if side in held]
        yield from _some(held, "has lines for the answers", answers)
        named = {cells[1] for cells in held.lines.values()}
        yield from _some(held, "names the same keys", [line.key for line in lines if line.key in named])


def _some(held: Table, how: str, keys: Sequence[str | None]) -> Iterator[Follows]:
    if kept := tuple(dict.fromkeys(key for key in keys if key)):
        yield Follows(held.name, how, kept)


def _determines(was: Mapping[str, str], held: Table) -> float:
    """The share of keys whose answer in `held` is told by that in `was`, if those are nearly all; else 0."""
    shared = [(answer, held[key]) for key, answer in was.items() if key in held]
    by: dict[str, Counter[str | None]] = {}
    for answer, here in shared:
        by.setdefault(answer, Counter())[here] += 1
    if len(shared) < FEWEST or 2 * len(by) > len(shared):
        return 0.0
    alone = Counter(here for _, here in shared).most_common(1)[0][1] / len(shared)
    share = sum(counts.most_common(1)[0][1] for counts in by.values()) / len(shared)
    return share if share >= NEARLY > alone else 0.0


def _turns(was: Mapping[str, str], held: Table) -> bool:
    """Whether nearly all answers are keys of `held` whose answers are the keys that they are answers of."""
    back = [held[answer] == key for key, answer in was.items() if answer in held]
    return len(back) >= FEWEST and sum(back) >= NEARLY * len(back)

"""What follows from a changed fact: the tables and rules that say something else, or should, once a line does.

Tables are compared as they are: one follows another where nearly all keys with the same answer there have the same
answer here, and turns it round where the answers there are its keys, and its answers their keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.accounts.language import Table
from pellucid.accounts.lines import Differs
from pellucid.accounts.uses import AccountPage

NEARLY = 0.95
"""The share of keys that counts as nearly all."""
FEWEST = 4
"""Keys that must be compared."""
SHOWN = 3
"""Tables and keys that are named."""
SAME = "says the old answer, too"
ABOUT = ("has lines for the answers", "answers with these keys", "has lines for these keys")
"""How tables are about the same, which need not follow."""


@dataclass(frozen=True)
class Follows:
    """Tables or a rule that changed lines touch, how they do, and of what keys."""

    places: tuple[str, ...]
    how: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        of = f": {_some(list(map(repr, self.keys)))}" if self.keys else ""
        return f"{_some(self.places)}  {self.how}{of}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"places": list(self.places), "how": self.how, "keys": list(self.keys)}


def _some(texts: Sequence[str]) -> str:
    """The first of some texts, and how many more there are."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"


def follows(tables: Mapping[str, Table], pages: Sequence[AccountPage], lines: Sequence[Differs]) -> list[Follows]:
    """All that follows from `lines` being as they are now; what is only about the same comes last, together."""
    found: list[Follows] = []
    for name in dict.fromkeys(line.table for line in lines):
        changed = [line for line in lines if line.table == name and line.was and line.now]
        found += rules_of(pages, name)
        by: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for held in (held for other, held in tables.items() if other != name):
            for how, keys in _touched(tables[name], held, changed):
                if known := tuple(dict.fromkeys(key for key in keys if key)):
                    by.setdefault(how, []).append((held.name, known))
        for how in sorted(by, key=lambda how: how in ABOUT):
            told = dict.fromkeys(key for _, known in by[how] for key in known)
            found.append(Follows(tuple(held for held, _ in by[how]), how, tuple(told)))
    return found


def rules_of(pages: Sequence[AccountPage], name: str) -> list[Follows]:
    """The rules that hang on a table."""
    return [Follows((str(rule),), rule.text) for page in pages for rule, names in page.rules if page.uses(names, name)]


def _touched(changed: Table, held: Table, lines: Sequence[Differs]) -> Iterator[tuple[str, Sequence[str | None]]]:
    """How a table is touched by lines of another one, and of what keys; none where it is not."""
    was = {key: cells[1] for key, cells in changed.lines.items()} | {line.key: line.was or "" for line in lines}
    answers, names, also = ABOUT
    sides = [side for line in lines for side in (line.was, line.now) if side in held]
    own = [line.key for line in lines if line.key in held]
    yield SAME, [line.key for line in lines if held[line.key] == line.was]
    if share := _determines(was, held):
        yield (
            f"follows from {changed.name} in {share:.0%} of its lines",
            [line.key for line in lines if line.key in held],
        )
    elif _turns(was, held):
        yield f"turns {changed.name} round", sides
    else:
        yield answers, sides
        named = {cells[1] for cells in held.lines.values()}
        yield names, [line.key for line in lines if line.key in named]
        yield also, own


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

"""Rules put together as people read them: by what they say, each behaviour in a file of its own.

Of several rules the one counts that asks for most (`specific`), as in the language of accounts, so that rules may be
grouped freely. What is nearly always right stands apart from what is a guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from pellucid.accounts.find.choose import Board, FoundRule, SaidEverywhere, specific
from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.patterns import Pattern
from pellucid.accounts.find.stream import NONE, Flags, Places
from pellucid.accounts.find.tables import Lookup
from pellucid.accounts.meter import LEAST

PRUNINGS = 12
SEVERAL = 2
"""How often a line has been right that is kept."""
SURE = 0.99
"""The share of their places at which rules, or lines of a table, are right together that are no guesses."""
MOSTLY = 0.96
"""The same of what can be relied on."""


@dataclass
class ReturnBlock:
    """Rules that say the same under the same conditions: one `return` with several patterns."""

    rules: list[FoundRule]
    sure: int
    """How sure they are together: 2 where that is nearly always right, 1 where mostly, 0 for guesses."""


@dataclass
class Behaviour:
    """Blocks that belong together, the most specific first."""

    key: tuple[str, object]
    blocks: list[ReturnBlock] = field(default_factory=list)


def in_order(rules: Sequence[FoundRule]) -> list[FoundRule]:
    """The rules in the order in which they override; those that ask for as much stay as they were."""
    return sorted(rules, key=specific)


@dataclass
class Judged:
    """What each rule adds where it has the last word, at how many places it has that, and at how many it is right."""

    gains: Float[np.ndarray, " _rule"]
    spoken: Float[np.ndarray, " _rule"]
    right: Float[np.ndarray, " _rule"]
    places: Places
    """Where any rule has the last word."""
    by: Places
    """Which rule has it there."""
    hits: Flags
    """Whether it is right there."""


def judged(board: Board, rules: Sequence[FoundRule], places: dict[FoundRule, Places]) -> Judged:
    """Let all rules speak, and compare each with what would be said without it."""
    stream = board.features.stream
    board.said = SaidEverywhere.nothing(len(stream))
    before = SaidEverywhere.nothing(len(stream))
    for number, rule in enumerate(rules):
        there = places[rule]
        token, _ = board.says(rule, there)
        there = there[token >= 0]
        before.token[there], before.word[there] = board.said.token[there], board.said.word[there]
        board.apply(rule, there, number)
    at = np.flatnonzero(board.said.rule != NONE)
    by, count = board.said.rule[at], len(rules)
    without = board.right(before.token[at], before.word[at], at)
    hits = board.said.token[at] == stream.own[at]
    return Judged(
        np.bincount(by, board.now(at) - without, minlength=count).astype(float),
        np.bincount(by, minlength=count).astype(float),
        np.bincount(by, hits, minlength=count).astype(float),
        at,
        by,
        hits,
    )


def pruned(board: Board, rules: Sequence[FoundRule], price: float) -> list[FoundRule]:
    """The rules without those that gain less on the text of `board` than they cost there."""
    rules = list(rules)
    places = {rule: board.places(rule) for rule in rules}
    for _ in range(PRUNINGS):
        gains = judged(board, rules, places).gains
        dropped = _useless(board, rules, gains, places, price)
        if not dropped:
            break
        rules = [rule for number, rule in enumerate(rules) if number not in dropped]
    return rules


def useful(board: Board, rules: Sequence[FoundRule], otherwise: Flags) -> list[FoundRule]:
    """The rules without guesses that do worse than what is said where nothing speaks.

    `otherwise` tells where on the text of `board` that is right. A rule that can be relied on stays: it says why.
    """
    rules = in_order(rules)
    places = {rule: board.places(rule) for rule in rules}
    for _ in range(PRUNINGS):
        found = judged(board, rules, places)
        plain = np.array([not rule.guards for rule in rules], dtype=bool)  # behind conditions others would speak
        guesses = plain & (found.right < LEAST * found.spoken)
        dropped = set(np.flatnonzero(guesses & _outdone(found, otherwise)).tolist())
        if not dropped:
            break
        rules = [rule for number, rule in enumerate(rules) if number not in dropped]
    return rules


def _outdone(found: Judged, otherwise: Flags) -> Flags:
    """The rules that are wrong where silence would be right more often than the reverse, and not by chance alone.

    By chance the difference of both counts is about as large as the root of their sum.
    """
    there, count = otherwise[found.places], len(found.gains)
    lost = np.bincount(found.by, ~found.hits & there, minlength=count)
    won = np.bincount(found.by, found.hits & ~there, minlength=count)
    outdone: Flags = lost - won > np.sqrt(lost + won)
    return outdone


def _useless(
    board: Board,
    rules: Sequence[FoundRule],
    gains: Float[np.ndarray, " _rule"],
    places: dict[FoundRule, Places],
    price: float,
) -> set[int]:
    """Rules that do not pay, no two of which speak at the same place: without one, the other may be needed."""
    taken = np.zeros(len(board.features.stream), dtype=bool)
    found = set[int]()
    for number in np.argsort(gains, kind="stable").tolist():
        rule = rules[number]
        if gains[number] <= price * board.price(rule) and not taken[places[rule]].any():
            taken[places[rule]] = True
            found.add(number)
    return found


def behaviours(board: Board, rules: Sequence[FoundRule]) -> list[Behaviour]:
    """The rules as behaviours, those that speak most first."""
    rules = in_order(rules)
    places = {rule: board.places(rule) for rule in rules}
    found = judged(board, rules, places)
    split = _split(board, rules)
    sure = _sure(rules, found)
    groups: dict[tuple[str, object], list[tuple[FoundRule, int, float]]] = defaultdict(list)
    for number, rule in enumerate(rules):
        for one, certain in split.get(rule, [(rule, int(sure[number]))]):
            groups[_behaviour(rule)].append((one, certain, found.spoken[number]))
    ranked = sorted(groups.items(), key=lambda entry: -sum(spoken for _, _, spoken in entry[1]))
    return [
        Behaviour(key, _blocks([(rule, certain) for rule, certain, _ in group], board.features.known.classes))
        for key, group in ranked
    ]


def _sure(rules: Sequence[FoundRule], found: Judged) -> Places:
    """How sure each rule is: of those that say the same thing the surest ones, as long as they are so together."""
    said: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, rule in enumerate(rules):
        said[rule.guards, rule.variable, rule.label, rule.table].append(number)
    sure = np.zeros(len(rules), dtype=np.int64)
    for numbers in said.values():
        left = np.array(numbers)
        for level, share in ((2, SURE), (1, MOSTLY)):
            chosen = _together(found.right[left], found.spoken[left], share)
            sure[left[chosen]] = level
            left = left[~chosen]
    return sure


def _together(right: Float[np.ndarray, " _part"], spoken: Float[np.ndarray, " _part"], share: float = SURE) -> Flags:
    """The parts of something, the surest first, that are right so often when taken together."""
    order = np.argsort(-(right + 1) / (spoken + 2) - (spoken == 0), kind="stable")
    enough = np.cumsum(right[order]) >= share * np.cumsum(spoken[order])
    chosen = np.zeros(len(order), dtype=bool)
    if enough.any():
        chosen[order[: len(order) - int(enough[::-1].argmax())]] = True
    return chosen


def _behaviour(rule: FoundRule) -> tuple[str, object]:
    """What a rule is grouped by: the class whose members it looks up, the variable that it copies, or what it is."""
    if rule.guards:
        return "guarded", (rule.pattern, rule.tree)
    if rule.table >= 0 and rule.variable is not None and rule.variable.of is not None:
        return "table", rule.variable.of
    if rule.variable is not None and rule.table < 0:
        return "copy", rule.variable
    return "phrases", None


def _blocks(rules: Sequence[tuple[FoundRule, int]], classes: Sequence[WordClass]) -> list[ReturnBlock]:
    """As few blocks as there can be, each for one thing said, such that no rule stands before one that overrides it."""
    rules = list(reversed(rules))
    keys = [(bool(rule.pattern), rule.guards, rule.variable, rule.label, rule.table, sure) for rule, sure in rules]
    groups = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    group = np.array([groups[key] for key in keys])
    before = np.zeros((len(rules), len(rules)), dtype=bool)
    for one, other in combinations(range(len(rules)), 2):
        if group[one] != group[other]:
            before[other, one] = meet(rules[one][0].pattern, rules[other][0].pattern, classes)
    left, blocks = np.ones(len(rules), dtype=bool), list[ReturnBlock]()
    while left.any():
        free = left & ~before[:, left].any(axis=1)
        number = _next(group, left, free)
        mine = np.flatnonzero(free & (group == number)).tolist()
        blocks.append(ReturnBlock([rules[one][0] for one in mine], rules[mine[0]][1]))
        left[mine] = False
    return blocks


def _next(group: Places, left: Flags, free: Flags) -> int:
    """The group of rules that comes next: the first of which all that is left is free, or that of most free ones."""
    count = int(group.max()) + 1
    waiting, ready = (np.bincount(group[flags], minlength=count) for flags in (left, free))
    whole = [int(number) for number in group[free] if waiting[number] == ready[number]]
    return whole[0] if whole else int(ready.argmax())


def meet(one: Pattern, other: Pattern, classes: Sequence[WordClass]) -> bool:
    """Whether a text may end in both patterns."""

    def members(element: int) -> Sequence[int]:
        return (element,) if element >= 0 else classes[-2 - element].members

    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(mine == yours or not set(members(mine)).isdisjoint(members(yours)) for mine, yours in pairs)


def _split(board: Board, rules: Sequence[FoundRule]) -> dict[FoundRule, list[tuple[FoundRule, int]]]:
    """Rules that look words of the text up, as two: for the lines that are nearly always right, and for the others."""
    found: dict[FoundRule, list[tuple[FoundRule, int]]] = {}
    parts: dict[int, list[tuple[int, int]]] = {}
    for rule in rules:
        if rule.table < 0 or rule.variable is None or rule.variable.of is not None:
            continue
        if rule.table not in parts:
            same = [number for number, other in enumerate(rules) if other.table == rule.table]
            parts[rule.table] = _halves(board, rule, same)
        found[rule] = [(replace(rule, table=table), sure) for table, sure in parts[rule.table]]
    return found


def _halves(board: Board, rule: FoundRule, same: Sequence[int]) -> list[tuple[int, int]]:
    """The lines of a table that are nearly always right where the rules `same` have the last word, and the others.

    A table that is nearly always right as a whole stays whole.
    """
    assert rule.variable is not None
    at = np.flatnonzero(np.isin(board.said.rule, same))
    keys = board.features.values[rule.variable][at]
    right = board.said.token[at] == board.features.stream.own[at]
    spoken = np.bincount(keys[keys >= 0], minlength=1).astype(float)
    hits = np.bincount(keys[keys >= 0], right[keys >= 0], minlength=1)
    lines = board.tables[rule.table].lines
    asked = np.flatnonzero(spoken >= SEVERAL)
    sure = np.zeros(len(spoken), dtype=bool)
    sure[asked] = _together(hits[asked], spoken[asked])
    parts = []
    for certain in (2, 0):
        kept = {key for key in lines if key < len(sure) and hits[key] >= SEVERAL and sure[key] == (certain > 0)}
        if kept:
            table = Lookup(rule.variable, users=board.tables[rule.table].users)
            table.votes.update({key: board.tables[rule.table].votes[key] for key in kept})
            board.tables.append(table)
            parts.append((len(board.tables) - 1, certain))
    return parts

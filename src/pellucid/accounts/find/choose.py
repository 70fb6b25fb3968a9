"""Which rules there are: chosen one by one, each by what it gains over those before, which it overrides.

A rule gains the tokens that are right with it and were not before, less those that were, less the price of its symbols.
Tables are paid for once. Choosing one rule after the other, each on what those before left, is transformation-based
learning (Brill, 1995); which of two that speak at one place counts is decided by how much they ask for, as in accounts.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from pellucid.accounts.find.features import Features, Guard
from pellucid.accounts.find.patterns import Candidate, Pattern, slot_element
from pellucid.accounts.find.stream import NONE, Places
from pellucid.accounts.find.tables import REFUSED, Lookup, first_of
from pellucid.accounts.find.variables import Variable

_MOST = 1 << 16
ASKED = 0.25
"""What symbols cost that the model bears out when it is asked, as a share of what others cost."""
SEVERAL = 3
"""Keys of one class that a rule may stand for, at least."""
CHEAPER = 0.5
"""What a symbol of a tree costs, as a share of what others cost: its questions are asked under one pattern."""
WIDER = 2
"""Symbols whose price a wider pattern must gain."""
SHARED = 4
"""Among how many users the price of a table is divided when the first one is judged, at most."""


@dataclass(frozen=True)
class FoundRule:
    """Behind a pattern, where all conditions hold: a word or token, a copy of a variable, or a line of a table."""

    pattern: Pattern
    guards: tuple[Guard, ...] = ()
    variable: Variable | None = None
    label: int = NONE
    table: int = NONE
    tree: int = 0
    """Which of several trees behind one pattern its conditions are of."""


def specific(rule: FoundRule) -> tuple[int, int, int]:
    """How much a rule asks for: conditions, elements of its pattern, elements that are words."""
    return len(rule.guards), len(rule.pattern), sum(element >= 0 for element in rule.pattern)


def rank_of(guards: int, length: int, words: int) -> int:
    """The same as a number."""
    return (guards * _MOST + length) * _MOST + words


def _rank(rule: FoundRule) -> int:
    return rank_of(*specific(rule))


@dataclass
class SaidEverywhere:
    """What rules say at every place: the token and the word that it begins (`NONE` where that is not known)."""

    token: Places
    word: Places
    rule: Places
    rank: Places
    """How much that rule asks for."""

    @staticmethod
    def nothing(count: int) -> SaidEverywhere:
        """No rule speaks anywhere."""
        return SaidEverywhere(*(np.full(count, NONE) for _ in range(4)))


@dataclass
class Board:
    """A stream, its features, and what rules are judged by."""

    features: Features
    first: Places
    tables: list[Lookup]
    lengths: Places
    """Tokens of each word."""
    said: SaidEverywhere = field(init=False)
    _lines: dict[int, Places] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said = SaidEverywhere.nothing(len(self.features.stream))

    def table(self, number: int) -> Places:
        """The labels of a table by key, `NONE` for words that are none."""
        if number not in self._lines:
            lines = np.full(len(self.features.stream.words) + 1, NONE)
            for key, label in self.tables[number].lines.items():
                lines[key] = label
            self._lines[number] = lines
        return self._lines[number]

    def forget(self) -> None:
        """Read the tables anew: some have changed."""
        self._lines.clear()

    def says(self, rule: FoundRule, places: Places) -> tuple[Places, Places]:
        """The tokens and words that a rule says at places; `NONE` where it says nothing."""
        if rule.variable is None:
            label = np.full(len(places), rule.label)
        else:
            label = self.features.values[rule.variable][places]
            label = self.table(rule.table)[label] if rule.table >= 0 else label
        token = first_of(label, self.first)
        return token, np.where((label >= 0) & (token >= 0), label, NONE)

    def places(self, rule: FoundRule) -> Places:
        """Where a rule speaks."""
        places = self.features.matching(rule.pattern)
        for guard in rule.guards:
            places = places[self.features.flags(guard)[places]]
        return places

    def right(self, token: Places, word: Places, places: Places) -> Float[np.ndarray, " _place"]:
        """The tokens that are right where `token` and `word` are said at `places`."""
        stream = self.features.stream
        whole = (word >= 0) & (word == stream.following[places])
        right: Float[np.ndarray, " _place"] = (token == stream.own[places]) + np.where(whole, stream.rest[places], 0.0)
        return right

    def now(self, places: Places) -> Float[np.ndarray, " _place"]:
        """The tokens that are right as things stand."""
        return self.right(self.said.token[places], self.said.word[places], places)

    def apply(self, rule: FoundRule, places: Places, number: int = 0) -> None:
        """Let a rule speak as rule `number`, over those before it that ask for no more."""
        token, word = self.says(rule, places)
        there = (token >= 0) & (self.said.rank[places] <= _rank(rule))
        self.said.token[places[there]] = token[there]
        self.said.word[places[there]] = word[there]
        self.said.rule[places[there]] = number
        self.said.rank[places[there]] = _rank(rule)

    def gain(self, rule: FoundRule, places: Places) -> float:
        """What a rule would make right."""
        token, word = self.says(rule, places)
        there = (token >= 0) & (self.said.rank[places] <= _rank(rule))
        return float((self.right(token, word, places) - self.now(places))[there].sum())

    def price(self, rule: FoundRule) -> float:
        """The symbols of a rule, its table left out.

        `ASKED` of them where the model was asked for it; of a leaf of a tree the last question, at `CHEAPER`.
        """
        if rule.guards:
            return CHEAPER * (1.0 + rule.guards[-1].price + self.answer_price(rule))
        share = ASKED if rule.table >= 0 and self.tables[rule.table].asked else 1.0
        pattern = sum(int(self.lengths[element]) if element >= 0 else 1 for element in rule.pattern)
        return share * (1.0 + pattern + self.answer_price(rule))

    def answer_price(self, rule: FoundRule) -> float:
        """The symbols of what a rule says."""
        return 1.0 if rule.variable is not None or rule.label < 0 else float(self.lengths[rule.label])

    def table_price(self, number: int) -> float:
        """The symbols of a table, of one that was asked for those of the lines that the text needs.

        Where there are two answers, those of the fewer keys.
        """
        table = self.tables[number]
        lines = {key: label for key, label in table.lines.items() if key not in table.asked or key in table.told}
        share = ASKED if table.asked else 1.0
        groups: dict[int, int] = defaultdict(int)
        for key, label in lines.items():
            groups[label] += int(self.lengths[key])
        if len(groups) == 2 and table.variable.of is not None:
            return share * (min(groups.values()) + 4.0)
        return share * sum(
            int(self.lengths[key]) + (int(self.lengths[one]) if one >= 0 else 1) for key, one in lines.items()
        )


def choose(board: Board, candidates: Sequence[Candidate], label: Places, price: float) -> list[FoundRule]:
    """The rules that gain more than they cost; the board is left as they say.

    Tables that were asked for are paid for together, by all that asks for them: what stands in one is not learned from
    the text again in another.
    """
    candidates = [one for one in candidates if one.table != REFUSED]
    rules = [rule_of(candidate, board, label) for candidate in candidates]
    users: dict[int, list[int]] = defaultdict(list)
    for number, rule in enumerate(rules):
        if rule.table >= 0:
            users[rule.table].append(number)
    paid = _paid(board, candidates, rules, users, price)

    def worth(one: int) -> float:
        rule = rules[one]
        cost = board.price(rule)
        if rule.table >= 0 and rule.table not in paid:
            cost += board.table_price(rule.table) / max(1, min(SHARED, board.tables[rule.table].users))
        return board.gain(rule, candidates[one].places) - price * cost

    heap = [(-gain, one) for one in range(len(rules)) if (gain := worth(one)) > 0]
    heapq.heapify(heap)
    chosen: list[FoundRule] = []
    done: set[int] = set()
    while heap:
        _, one = heapq.heappop(heap)
        if one in done:
            continue
        gain = worth(one)
        if gain <= 0:
            continue
        if heap and gain < -heap[0][0] - 1e-9:
            heapq.heappush(heap, (-gain, one))
            continue
        done.add(one)
        board.apply(rules[one], candidates[one].places)
        chosen.append(rules[one])
        if rules[one].table >= 0 and rules[one].table not in paid:
            paid.add(rules[one].table)
            for other in users[rules[one].table]:
                if other not in done and (again := worth(other)) > 0:
                    heapq.heappush(heap, (-again, other))
    return chosen


def _paid(
    board: Board,
    candidates: Sequence[Candidate],
    rules: Sequence[FoundRule],
    users: Mapping[int, list[int]],
    price: float,
) -> set[int]:
    """The tables that were asked for and are worth it: all their rules gain more than they and the table cost."""
    found = set[int]()
    for table, numbers in users.items():
        if board.tables[table].asked:
            gain = sum(max(0.0, board.gain(rules[one], candidates[one].places)) for one in numbers)
            if gain > price * (board.table_price(table) + sum(board.price(rules[one]) for one in numbers)):
                found.add(table)
    return found


def widened(board: Board, rules: Sequence[FoundRule], price: float) -> list[FoundRule]:
    """The same rules with a class in place of a word of their pattern, where more is right with them.

    They cost nothing beside: the narrower ones are not needed then.
    """
    slots, found = board.features.slots, list[FoundRule]()
    for rule in rules:
        for at, element in enumerate(rule.pattern):
            if element >= 0 and slots[element] >= 0:
                pattern = (*rule.pattern[:at], int(slot_element(slots[[element]])[0]), *rule.pattern[at + 1 :])
                wider = replace(rule, pattern=pattern)
                if wider in found:
                    continue
                places = board.places(wider)
                if board.gain(wider, places) > price * WIDER:
                    board.apply(wider, places)
                    found.append(wider)
    return found


def collapsed(board: Board, rules: Sequence[FoundRule], price: float) -> list[FoundRule]:
    """Rules for what tables have alike for a class of words right before their patterns, in place of those lines.

    The lines are taken out of the tables.
    """
    found = list[FoundRule]()
    for table in dict.fromkeys(rule.table for rule in rules if rule.table >= 0):
        users = [rule for rule in rules if rule.table == table]
        before = [f"text.word({len(rule.pattern) + 1})" for rule in users]
        if all(
            rule.variable is not None and rule.variable.says == word for rule, word in zip(users, before, strict=True)
        ):
            for slot, label, keys in _alike(board, table):
                wider = [FoundRule((slot, *rule.pattern), rule.guards, label=label) for rule in users]
                cost = sum(board.price(rule) for rule in wider) - sum(1 + int(board.lengths[key]) for key in keys)
                places = [board.places(rule) for rule in wider]
                if sum(map(board.gain, wider, places)) > price * cost:
                    for rule, there in zip(wider, places, strict=True):
                        board.apply(rule, there)
                        found.append(rule)
                    for key in keys:
                        del board.tables[table].votes[key]
                    board.forget()
    return found


def _alike(board: Board, table: int) -> Iterator[tuple[int, int, list[int]]]:
    """For each class that a table has several keys of: its slot, what most of them have, and all of its keys."""
    lines, slots = board.tables[table].lines, board.features.slots
    groups: dict[int, list[int]] = defaultdict(list)
    for key in lines:
        if slots[key] >= 0 and key in board.tables[table].votes:
            groups[int(slots[key])].append(key)
    for group, keys in groups.items():
        if len(keys) >= SEVERAL:
            label = Counter(lines[key] for key in keys).most_common(1)[0][0]
            yield int(slot_element(np.array([group]))[0]), label, keys


def anywhere(board: Board, price: float) -> list[FoundRule]:
    """What followed the same words before, as what comes next behind whatever a text ends in, where that pays.

    It is what is said where no rule with a pattern speaks; behind rare words there is none.
    """
    places = board.features.matching(())
    chosen: list[FoundRule] = []
    for variable in board.features.values:
        rule = FoundRule((), variable=variable)
        if variable.says.startswith("text.again") and board.gain(rule, places) > price * board.price(rule):
            board.apply(rule, places)
            chosen.append(rule)
    return chosen


def rule_of(candidate: Candidate, board: Board, label: Places) -> FoundRule:
    if candidate.variable is not None:
        return FoundRule(
            candidate.pattern, (), candidate.variable, table=candidate.table if candidate.looks_up else NONE
        )
    own = board.features.stream.own
    said = label[candidate.places[own[candidate.places] == candidate.token]]
    numbers, seen = np.unique(said, return_counts=True)
    return FoundRule(candidate.pattern, label=int(numbers[seen.argmax()]))


def spoken(board: Board, rules: Sequence[FoundRule]) -> None:
    """Let all rules speak anew, in their order."""
    board.said = SaidEverywhere.nothing(len(board.features.stream))
    for number, rule in enumerate(rules):
        board.apply(rule, board.places(rule), number)

"""Which rules there are: chosen one by one, each by what it gains over those before, which it overrides.

A rule gains the tokens that are right with it and were not before, less those that were, less the price of its symbols.
Tables are paid for once. The greedy order, in which later rules override, is that of transformation-based learning
(Brill, 1995).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from pellucid.accounts.find.features import Features, Guard
from pellucid.accounts.find.patterns import Candidate, Pattern
from pellucid.accounts.find.stream import NONE, Places
from pellucid.accounts.find.tables import REFUSED, Lookup, first_of
from pellucid.accounts.find.variables import Variable

SHARED = 4
"""Among how many users the price of a table is divided when the first one is judged, at most."""


@dataclass(frozen=True)
class Rule:
    """Behind a pattern, where all conditions hold: a word or token, a copy of a variable, or a line of a table."""

    pattern: Pattern
    guards: tuple[Guard, ...] = ()
    variable: Variable | None = None
    label: int = NONE
    table: int = NONE


@dataclass
class Said:
    """What rules say at every place: the token and the word that it begins (`NONE` where that is not known)."""

    token: Places
    word: Places
    rule: Places

    @staticmethod
    def nothing(count: int) -> Said:
        """No rule speaks anywhere."""
        return Said(np.full(count, NONE), np.full(count, NONE), np.full(count, NONE))


@dataclass
class Board:
    """A stream, its features, and what rules are judged by."""

    features: Features
    first: Places
    tables: list[Lookup]
    lengths: Places
    """Tokens of each word."""
    said: Said = field(init=False)
    _lines: dict[int, Places] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said = Said.nothing(len(self.features.stream))

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

    def says(self, rule: Rule, places: Places) -> tuple[Places, Places]:
        """The tokens and words that a rule says at places; `NONE` where it says nothing."""
        if rule.variable is None:
            label = np.full(len(places), rule.label)
        else:
            label = self.features.values[rule.variable][places]
            label = self.table(rule.table)[label] if rule.table >= 0 else label
        token = first_of(label, self.first)
        return token, np.where((label >= 0) & (token >= 0), label, NONE)

    def places(self, rule: Rule) -> Places:
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

    def apply(self, rule: Rule, number: int, places: Places) -> None:
        """Let a rule speak, over those before it."""
        token, word = self.says(rule, places)
        there = token >= 0
        self.said.token[places[there]] = token[there]
        self.said.word[places[there]] = word[there]
        self.said.rule[places[there]] = number

    def gain(self, rule: Rule, places: Places) -> float:
        """What a rule would make right."""
        token, word = self.says(rule, places)
        there = token >= 0
        return float((self.right(token, word, places) - self.now(places))[there].sum())

    def price(self, rule: Rule) -> float:
        """The symbols of a rule, its table left out."""
        pattern = sum(int(self.lengths[element]) if element >= 0 else 1 for element in rule.pattern)
        answer = 1 if rule.variable is not None or rule.label < 0 else int(self.lengths[rule.label])
        return 1.0 + pattern + answer + 4 * len(rule.guards)

    def table_price(self, number: int) -> float:
        """The symbols of a table; where there are two answers, those of the fewer keys."""
        lines = self.tables[number].lines
        groups: dict[int, int] = defaultdict(int)
        for key, label in lines.items():
            groups[label] += int(self.lengths[key])
        if len(groups) == 2 and self.tables[number].variable.of is not None:
            return min(groups.values()) + 4.0
        return 0.0 + sum(
            int(self.lengths[key]) + (int(self.lengths[one]) if one >= 0 else 1) for key, one in lines.items()
        )


def choose(board: Board, candidates: Sequence[Candidate], label: Places, price: float) -> list[Rule]:
    """The rules that gain more than they cost, in the order in which they override; the board is left as they say."""
    candidates = [one for one in candidates if one.table != REFUSED]
    rules = [rule_of(candidate, board, label) for candidate in candidates]
    users: dict[int, list[int]] = defaultdict(list)
    for number, rule in enumerate(rules):
        if rule.table >= 0:
            users[rule.table].append(number)
    paid: set[int] = set()

    def worth(number: int) -> float:
        rule = rules[number]
        cost = board.price(rule)
        if rule.table >= 0 and rule.table not in paid:
            cost += board.table_price(rule.table) / max(1, min(SHARED, board.tables[rule.table].users))
        return board.gain(rule, candidates[number].places) - price * cost

    heap = [(-gain, number) for number in range(len(rules)) if (gain := worth(number)) > 0]
    heapq.heapify(heap)
    chosen: list[Rule] = []
    done: set[int] = set()
    while heap:
        _, number = heapq.heappop(heap)
        if number in done:
            continue
        gain = worth(number)
        if gain <= 0:
            continue
        if heap and gain < -heap[0][0] - 1e-9:
            heapq.heappush(heap, (-gain, number))
            continue
        done.add(number)
        board.apply(rules[number], len(chosen), candidates[number].places)
        chosen.append(rules[number])
        if rules[number].table >= 0 and rules[number].table not in paid:
            paid.add(rules[number].table)
            for other in users[rules[number].table]:
                if other not in done and (again := worth(other)) > 0:
                    heapq.heappush(heap, (-again, other))
    return chosen


def anywhere(board: Board, price: float) -> list[Rule]:
    """What followed the same words before, as what comes next behind whatever a text ends in, where that pays.

    It is what is said where no rule with a pattern speaks; behind rare words there is none.
    """
    places = board.features.matching(())
    chosen: list[Rule] = []
    for variable in board.features.values:
        rule = Rule((), variable=variable)
        if variable.says.startswith("text.again") and board.gain(rule, places) > price * board.price(rule):
            board.apply(rule, len(chosen), places)
            chosen.append(rule)
    return chosen


def rule_of(candidate: Candidate, board: Board, label: Places) -> Rule:
    if candidate.variable is not None:
        return Rule(candidate.pattern, (), candidate.variable, table=candidate.table if candidate.looks_up else NONE)
    own = board.features.stream.own
    said = label[candidate.places[own[candidate.places] == candidate.token]]
    numbers, seen = np.unique(said, return_counts=True)
    return Rule(candidate.pattern, label=int(numbers[seen.argmax()]))


def spoken(board: Board, rules: Sequence[Rule]) -> None:
    """Let all rules speak anew, in their order."""
    board.said = Said.nothing(len(board.features.stream))
    for number, rule in enumerate(rules):
        board.apply(rule, number, board.places(rule))

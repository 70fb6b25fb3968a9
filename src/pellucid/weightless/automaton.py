"""The fallback where looks do not find what a model does: an automaton that says what it says.

It is learned from the model's answers by merging states of the tree of all prefixes (Oncina & García, 1992; of the
states that a prefix could be merged with, that of the most evidence: Lang et al., 1998). It imitates: it has no address
in the model, and a program that is one is never more than behavioural.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from pellucid.weightless.language import Alphabet, Walk, WeightlessProgram
from pellucid.weightless.questions import answer_text
from pellucid.weightless.task import Judged
from pellucid.weightless.teacher import Read
from pellucid.weightless.tree import DecisionNode

MOST_STATES = 40
UNKNOWN = -1


@dataclass
class _States:
    """States by number: what is said there, as the number of an answer, and which state comes after each token."""

    says: list[int] = field(default_factory=list)
    after: list[dict[int, int]] = field(default_factory=list)

    def add(self) -> int:
        """A new state, about which nothing is known."""
        self.says.append(UNKNOWN)
        self.after.append({})
        return len(self.says) - 1

    def merged(self, into: int, state: int) -> tuple[int, list[tuple[str, int, int]]]:
        """Fold `state` and all behind it into `into`: how many answers agreed, and what was changed.

        The number is -1 where two answers disagree; everything is then as it was.
        """
        agreed, changed, open_pairs = 0, list[tuple[str, int, int]](), [(into, state)]
        while open_pairs:
            one, other = open_pairs.pop()
            if self.says[other] != UNKNOWN:
                if self.says[one] == UNKNOWN:
                    self.says[one] = self.says[other]
                    changed.append(("says", one, 0))
                elif self.says[one] == self.says[other]:
                    agreed += 1
                else:
                    self.undo(changed)
                    return -1, []
            for token, behind in self.after[other].items():
                if token in self.after[one]:
                    open_pairs.append((self.after[one][token], behind))
                else:
                    self.after[one][token] = behind
                    changed.append(("after", one, token))
        return agreed, changed

    def undo(self, changed: list[tuple[str, int, int]]) -> None:
        """Take back what folding changed."""
        for kind, state, token in reversed(changed):
            if kind == "says":
                self.says[state] = UNKNOWN
            else:
                del self.after[state][token]


def learned(read: Read, alphabet: Alphabet, kind: Judged) -> WeightlessProgram | None:
    """The automaton that says on the rows of `read` what the model clearly says there; None if it needs many states."""
    given = read.answer[read.scored & read.clear]
    if not len(given):
        return None
    kinds = np.unique(given, axis=0)
    numbers = {kind.tobytes(): at for at, kind in enumerate(np.ascontiguousarray(kinds))}
    states = _prefixes(read, numbers)
    kept = _fold(states)
    if kept is None:
        return None
    name = {state: at for at, state in enumerate(kept)}
    tokens = sorted({token for state in kept for token in states.after[state]})
    after = {token: tuple(name[states.after[state].get(token, state)] for state in kept) for token in tokens}
    says = [answer_text(alphabet, kind, kinds[max(states.says[state], 0)]) for state in kept]
    known = tuple(dict.fromkeys(says))
    walk = Walk(after, tuple(known.index(text) for text in says))
    return WeightlessProgram(alphabet, kind, (), (), known, DecisionNode(0), walk=walk)


def _prefixes(read: Read, numbers: dict[bytes, int]) -> _States:
    """The tree of all prefixes of rows, with what the model clearly says behind them."""
    states = _States()
    root = states.add()
    certain = read.scored & read.clear
    for row, ids in enumerate(read.ids):
        at = root
        for place in range(int(np.flatnonzero(read.scored[row]).max(initial=-1)) + 1):
            token = int(ids[place])
            if token not in states.after[at]:
                states.after[at][token] = states.add()
            at = states.after[at][token]
            if certain[row, place]:
                states.says[at] = numbers[np.ascontiguousarray(read.answer[row, place]).tobytes()]
    return states


def _fold(states: _States) -> list[int] | None:
    """Merge states, the nearest to the start first; those that are left, or None where there are too many."""
    kept = [0]
    waiting = deque(_children(states, 0))
    while waiting:
        parent, token = waiting.popleft()
        state = states.after[parent][token]
        if state in kept:
            continue
        best, most = None, -1
        for one in kept:
            agreed, changed = states.merged(one, state)
            states.undo(changed)
            if agreed > most:
                best, most = one, agreed
        if best is None:
            kept.append(state)
            if len(kept) > MOST_STATES:
                return None
            waiting.extend(_children(states, state))
            continue
        states.after[parent][token] = best
        states.merged(best, state)
        waiting.extend(
            pair for one in kept for pair in _children(states, one) if states.after[pair[0]][pair[1]] not in kept
        )
    return kept


def _children(states: _States, state: int) -> list[tuple[int, int]]:
    return [(state, token) for token in sorted(states.after[state])]

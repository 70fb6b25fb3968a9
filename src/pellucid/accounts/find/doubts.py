"""Where rules that are mostly right are mostly wrong: said apart, so that what is left of them can be relied on.

A rule that is right at nine of ten places is a guess wherever it speaks. Where conditions tell the places at which it
is wrong, it is written twice: under them as a guess, elsewhere as what can be relied on. What is said stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pellucid.accounts.find.choose import Board, FoundRule, spoken
from pellucid.accounts.find.features import Guard
from pellucid.accounts.find.stream import Flags
from pellucid.accounts.find.trees import Path, TreeNode, TreeQuestions, grown

LARGE = 0.003
"""The share of all places at which a rule speaks that is looked at, at least."""
DOUBTFUL = 0.75
"""How often such a rule is right, at least."""
ENOUGH = ((0.975, 0.8), (0.968, 0.8), (0.962, 0.5))
"""How often what is left of it must be right, and which share of its places must be left, the most wanted first."""
RELIABLE = ENOUGH[0][0]
LEAVES = 64
APART = 0.1
"""The share of places of a leaf at which other rules speak, at most."""


def doubts(board: Board, rules: Sequence[FoundRule], guards: Sequence[Guard], price: float) -> list[FoundRule]:
    """Rules under conditions that say the same as one of `rules` that is often wrong there."""
    spoken(board, rules)
    by, right = board.said.rule.copy(), board.said.token == board.features.stream.own
    asked = board.features.stream.asked
    found = list[FoundRule]()
    for number, rule in enumerate(rules):
        own = (by == number) & asked
        plain = not rule.guards and (rule.table < 0 or (rule.variable is not None and rule.variable.of is not None))
        if plain and own.sum() >= LARGE * asked.sum() and DOUBTFUL <= right[own].mean() < RELIABLE:
            found += _apart(board, rule, own, right, guards, price)
    return found


def _apart(
    board: Board, rule: FoundRule, own: Flags, right: Flags, guards: Sequence[Guard], price: float
) -> Iterator[FoundRule]:
    """The rule where it is a guess; nothing where what would be left of it is one too."""
    places = board.places(rule)
    mine, good = own[places], right[places]
    kinds = np.stack([mine & good, mine & ~good, ~mine], axis=1).astype(np.float32)
    asked = TreeQuestions.at(board, places, guards, price)
    tree = grown(kinds, asked, LEAVES)
    chosen = next(filter(None, (_doubtful(tree, mine, good, *enough) for enough in ENOUGH)), set())
    for path in _paths(tree, chosen, asked.guards):
        if path:
            yield replace(rule, guards=path, tree=1)


def _doubtful(tree: TreeNode, mine: Flags, good: Flags, enough: float, left_over: float) -> set[int]:
    """The leaves, by the first of their places, that have to be set apart; none where too little would be left."""
    leaves = [node for node in _leaves(tree) if (~mine[node.places]).mean() <= APART]
    leaves.sort(key=lambda node: float(good[node.places].mean()))
    count, hits = int(mine.sum()), int((mine & good).sum())
    left, found = count, set[int]()
    for node in leaves:
        if hits >= enough * left:
            break
        there = mine[node.places]
        left, hits = left - int(there.sum()), hits - int((there & good[node.places]).sum())
        found.add(int(node.places[0]))
    return found if hits >= enough * left and left >= left_over * count else set()


def _leaves(node: TreeNode) -> Iterator[TreeNode]:
    if node.holds is None or node.fails is None:
        yield node
    else:
        yield from _leaves(node.holds)
        yield from _leaves(node.fails)


def _paths(node: TreeNode, chosen: set[int], guards: Sequence[Guard], path: Path = ()) -> Iterator[Path]:
    """The conditions under which the largest parts of a tree are reached all of whose leaves are chosen."""
    if all(int(leaf.places[0]) in chosen for leaf in _leaves(node)):
        yield path
    elif node.holds is not None and node.fails is not None:
        guard = guards[node.guard]
        yield from _paths(node.holds, chosen, guards, (*path, guard))
        yield from _paths(node.fails, chosen, guards, (*path, guard.other()))

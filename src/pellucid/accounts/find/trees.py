"""Trees of conditions behind a pattern: what comes next there where it depends on more than patterns and variables.

A tree is grown leaf by leaf, best first, by how much purer the kinds of places become (Gini's impurity, as in Breiman
et al., 1984), and cut back where a question does not make as many tokens right as its symbols cost. Behind each leaf
one thing is said, or what other rules say anyway.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pellucid.accounts.find.choose import Board, FoundRule
from pellucid.accounts.find.features import Guard
from pellucid.accounts.find.patterns import Pattern
from pellucid.accounts.find.stream import NONE, Places
from pellucid.accounts.find.variables import Variable

TOKENS = 15
"""Words that may be said behind a leaf, the commonest."""
LEAVES = 64
FEWEST = 20
"""Places of a leaf, at least."""
SURE = 0.99
"""A leaf that is right this often says so itself: `CLEAR` of a token is what it is worth to know that, a place."""
CLEAR = 0.05
DEEPEST = 12


@dataclass(frozen=True)
class Spot:
    """A pattern with wrong places."""

    pattern: Pattern
    places: Places
    wrong: int


@dataclass
class Says:
    """What could be said behind a pattern: words and copies of variables, and how much each makes right where."""

    rules: list[tuple[Variable | None, int]]
    right: Float[np.ndarray, "place rule"]
    """The last column is what is said as things stand."""


@dataclass
class TreeNode:
    """Places of a tree: a question with the places where it holds and those where not, or a leaf."""

    places: Places
    """By number among those of the spot."""
    guard: int = NONE
    holds: TreeNode | None = None
    fails: TreeNode | None = None


def sayings(board: Board, spot: Spot, label: Places) -> Says:
    """What could be said behind the pattern of `spot`, beside what is said there now."""
    stream, values = board.features.stream, board.features.values
    own = stream.own[spot.places]
    now = board.now(spot.places).astype(np.float32)
    rules: list[tuple[Variable | None, int]] = []
    columns: list[np.ndarray] = []
    tokens, seen = np.unique(label[spot.places], return_counts=True)
    for number in tokens[np.argsort(-seen, kind="stable")][:TOKENS]:
        token, word = board.says(FoundRule((), label=int(number)), spot.places)
        rules.append((None, int(number)))
        columns.append(board.right(token, word, spot.places))
    for variable in values:
        token, word = board.says(FoundRule((), variable=variable), spot.places)
        if (token == own).sum() > 0.01 * len(own):
            rules.append((variable, NONE))
            columns.append(np.where(token >= 0, board.right(token, word, spot.places), now))
    return Says(rules, np.stack([*columns, now], axis=1).astype(np.float32))


@dataclass(frozen=True)
class TreeQuestions:
    """The questions that may be asked at the places of a spot, and what each costs, in tokens."""

    guards: list[Guard]
    holds: Bool[np.ndarray, "guard place"]
    costs: Float[np.ndarray, " guard"]

    @staticmethod
    def at(board: Board, places: Places, guards: Sequence[Guard], price: float) -> TreeQuestions:
        """Those of `guards` that part the places."""
        holds = np.stack([board.features.flags(guard)[places] for guard in guards])
        useful = (holds.sum(axis=1) >= FEWEST) & ((~holds).sum(axis=1) >= FEWEST)
        kept = [guard for guard, good in zip(guards, useful, strict=True) if good]
        return TreeQuestions(kept, holds[useful], np.array([price * guard.price for guard in kept], dtype=np.float32))


def grown(kinds: Float[np.ndarray, "place kind"], asked: TreeQuestions, most: int = LEAVES) -> TreeNode:
    """A tree of at most so many leaves that tells `kinds` apart: by place and kind whether it is of that."""
    root, leaves = TreeNode(np.arange(len(kinds))), 1
    waiting: list[tuple[float, int, TreeNode, int, int]] = []

    def wait(node: TreeNode, depth: int) -> None:
        if len(node.places) >= 2 * FEWEST and depth < DEEPEST:
            gain, guard = _split(kinds, asked, node.places)
            if guard != NONE:
                heapq.heappush(waiting, (-gain, int(node.places[0]), node, guard, depth))

    wait(root, 0)
    while waiting and leaves < most:
        _, _, node, guard, depth = heapq.heappop(waiting)
        there = asked.holds[guard][node.places]
        node.guard, node.holds, node.fails = guard, TreeNode(node.places[there]), TreeNode(node.places[~there])
        leaves += 1
        for child in (node.holds, node.fails):
            wait(child, depth + 1)
    return root


def _split(kinds: Float[np.ndarray, "place kind"], asked: TreeQuestions, places: Places) -> tuple[float, int]:
    """The question that makes `places` purest, and by how much; none where there is nothing to gain."""
    if not len(asked.guards):
        return 0.0, NONE
    own = kinds[places]
    total = own.sum(axis=0)
    one = asked.holds[:, places].astype(np.float32) @ own
    other = total - one
    sizes, rest = one.sum(axis=1), other.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pure = (one**2).sum(axis=1) / sizes + (other**2).sum(axis=1) / rest
    pure = np.where((sizes >= FEWEST) & (rest >= FEWEST), pure, -1.0)
    gains = pure - (total**2).sum() / total.sum() - asked.costs / 2
    guard = int(gains.argmax())
    return (float(gains[guard]), guard) if gains[guard] > 0 else (0.0, NONE)


@dataclass
class _Worth:
    """What answers are worth at places of a spot."""

    says: Says
    costs: Float[np.ndarray, " rule"]
    """What it costs to say each thing; nothing for what is said anyway."""

    def kinds(self) -> Float[np.ndarray, "place kind"]:
        """By place which of the things that could be said is right there, the one that is right most; or none."""
        right = self.says.right
        order = np.argsort(-right.sum(axis=0), kind="stable")
        hits = right[:, order] > 0
        first = np.where(hits.any(axis=1), order[hits.argmax(axis=1)], right.shape[1])
        found: Float[np.ndarray, "place kind"] = np.eye(right.shape[1] + 1, dtype=np.float32)[first]
        return found

    def best(self, places: Places) -> tuple[float, int]:
        """The most that one answer is worth at places, its price taken off, and which."""
        right = self.says.right[places].sum(axis=0) - self.costs
        hits = (self.says.right[places] > 0).mean(axis=0)
        worth = right + np.where(hits >= SURE, CLEAR * len(places), 0) * (np.arange(len(right)) < len(right) - 1)
        number = int(worth.argmax())
        return float(worth[number]), number

    def cut(self, node: TreeNode, asked: TreeQuestions) -> float:
        """Take out questions that do not pay; what the tree is worth then."""
        alone, _ = self.best(node.places)
        if node.holds is None or node.fails is None:
            return alone
        below = self.cut(node.holds, asked) + self.cut(node.fails, asked) - float(asked.costs[node.guard])
        if below <= alone:
            node.guard, node.holds, node.fails = NONE, None, None
            return alone
        return below


Path = tuple[Guard, ...]


def leaves(node: TreeNode, guards: Sequence[Guard], path: Path = ()) -> Iterator[tuple[Path, TreeNode]]:
    """The leaves of a tree, each with the conditions under which it is reached."""
    if node.holds is None or node.fails is None:
        yield path, node
        return
    guard = guards[node.guard]
    yield from leaves(node.holds, guards, (*path, guard))
    yield from leaves(node.fails, guards, (*path, guard.other()))


def conditional(board: Board, spot: Spot, label: Places, guards: Sequence[Guard], price: float) -> Iterator[FoundRule]:
    """The rules of the tree behind a spot, each applied to the board."""
    says = sayings(board, spot, label)
    asked = TreeQuestions.at(board, spot.places, guards, price)
    answers = [price * (1 + board.answer_price(FoundRule((), (), *said))) for said in says.rules]
    worth = _Worth(says, np.array([*answers, 0.0], dtype=np.float32))
    tree = grown(worth.kinds(), asked)
    worth.cut(tree, asked)
    for path, leaf in leaves(tree, asked.guards):
        _, best = worth.best(leaf.places)
        if path and best < len(says.rules):
            variable, word = says.rules[best]
            rule = FoundRule(spot.pattern, path, variable, word)
            board.apply(rule, spot.places[leaf.places])
            yield rule

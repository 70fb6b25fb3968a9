"""Find the accounts of a model: from rows of text and what it says about them to the files of `program/accounts`.

On fit text rules are proposed and chosen, on tune text those are taken out that do not pay there. Nothing else is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.accounts.find import deepen
from pellucid.accounts.find.choose import CHEAPER, Board, FoundRule, anywhere, choose, collapsed, rule_of, widened
from pellucid.accounts.find.classes import classes, slots_of
from pellucid.accounts.find.doubts import doubts
from pellucid.accounts.find.ends import Ends, asked_for, ends, silent, without
from pellucid.accounts.find.features import Features, Guard, Vocabulary
from pellucid.accounts.find.patterns import MODES, Candidate, grow, slot_element
from pellucid.accounts.find.program import Behaviour, behaviours, in_order, pruned, useful
from pellucid.accounts.find.relations import Says, proposed, relations
from pellucid.accounts.find.rests import Rests, rests
from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places
from pellucid.accounts.find.tables import Lookup, alike, labels, shared, usual
from pellucid.accounts.find.trees import conditional
from pellucid.accounts.find.variables import telling
from pellucid.base.defaults import SYMBOL_PRICE
from pellucid.base.progress import track

CHEAP = 0.1
"""What a symbol costs that tells where a rule can be relied on, as a share of that."""
_BITS = 21


@dataclass
class FoundAccounts:
    """Behaviours, and what they were found with."""

    board: Board
    rules: list[FoundRule]
    behaviours: list[Behaviour]
    ends: Ends
    rests: Rests


def find(
    fit: FlatRows, tune: FlatRows, price: float = SYMBOL_PRICE, says: Says | None = None, otherwise: Flags | None = None
) -> FoundAccounts:
    """The behaviours of the model that says what `fit` and `tune` say, and `says` what it is asked beside.

    `otherwise` tells at which places of `tune` that is right which is said where no account speaks.
    """
    words = fit.words
    groups = classes(fit)
    slots, first = slots_of(groups, len(words)), words.first()
    lengths = np.array([max(1, len(words.said(number))) for number in range(len(words))])
    label = labels(fit, first)
    behind = telling(fit, first, *_pairs(fit, slots))
    features = Features(fit, Vocabulary(tuple(groups), tuple(behind)), slots)
    candidates, sizes = list[Candidate](), [len(group.members) for group in groups]
    for mode in track(MODES, "growing patterns", len(MODES)):
        candidates += grow(fit, features.values, first, slots, sizes, mode)
    known, asking = _asked(features, first, says) if says else ([], [])
    tables = shared(candidates, features.values, label, first, known)
    board = Board(features, first, tables, lengths)
    cost = price * int(fit.asked.sum())
    rules = anywhere(board, cost)
    for proposals in (asking, candidates):
        rules += choose(board, proposals, label, cost)
    rules += widened(board, rules, cost)
    rules += collapsed(board, rules, cost)
    rules += _deepened(board, candidates, label, cost)
    same = alike(tables, [rule.table for rule in rules if rule.table >= 0], first)
    rules = [replace(rule, table=same.get(rule.table, rule.table)) for rule in rules]
    board.forget()
    other = Board(Features(tune, board.features.known, slots_of(groups, len(words))), first, tables, lengths)
    kept = pruned(other, in_order(rules), price * int(tune.asked.sum()))
    kept += doubts(board, kept, deepen.conditions(board.features) + deepen.counts(board.features), cost * CHEAP)
    kept = kept if otherwise is None else useful(other, kept, otherwise)
    found = behaviours(board, kept)  # they leave on the board what is said at each place
    asks = asked_for(board, found, in_order(kept))
    rare = ends(fit, tune, asks, price * len(fit))
    left = without(board, in_order(kept), rare)
    if len(left) < len(kept):
        found = behaviours(board, left)
    return FoundAccounts(board, left, found, rare, rests(fit, silent(board) & (rare.said == NONE), price * len(fit)))


def _asked(features: Features, first: Places, says: Says) -> tuple[list[Lookup], list[Candidate]]:
    """The tables of relations that the model answers by itself, and what asks for them."""
    stream = features.stream
    return proposed(features, relations(features, first, says), labels(stream, first), usual(stream, first))


def _pairs(stream: FlatRows, slots: Places) -> tuple[Places, Places]:
    """The last two words of every place as a group, and how much the commonest token of each group has right."""

    def element(places: Places) -> Places:
        slot = slots[stream.at(places)]
        return np.where(slot >= 0, slot_element(slot), stream.at(places))

    here = element(stream.places)
    before = element(stream.back(stream.places))
    width = len(stream.words) + len(slots) + 4
    _, group = np.unique(here * width + before, return_inverse=True)
    asked = np.flatnonzero(stream.asked)
    pairs, seen = np.unique(group[asked] * (1 << _BITS) + stream.own[asked], return_counts=True)
    best = np.zeros(int(group.max()) + 1, dtype=np.int64)
    np.maximum.at(best, pairs >> _BITS, seen)
    return np.where(stream.asked, group, NONE), best


def _deepened(board: Board, candidates: Sequence[Candidate], label: Places, cost: float) -> list[FoundRule]:
    """Rules that ask for states, counted sentences and conditions."""
    rules = _stated(board, candidates, label, cost)
    often = Counter(board.features.stream.word[board.features.stream.whole].tolist()).most_common(deepen.TALLIED_WORDS)
    words = [board.features.stream.words.texts[word] for word, _ in often]
    guards: list[Guard] = deepen.conditions(board.features)
    for spot in deepen.spots(board, candidates, 3)[:1]:
        found = [tally for tally, _, _ in deepen.tallies(board, spot, label, words)]
        board.features, more = deepen.with_tallies(board.features, list(dict.fromkeys(found)))
        guards += more
    left = deepen.spots(board, candidates, 3)
    for _ in track(range(deepen.TRIED), "looking for conditions", deepen.TRIED):
        left = deepen.worst(board, left)
        if not left:
            break
        rules += conditional(board, left.pop(0), label, guards, cost * CHEAPER)
    return rules


def _stated(board: Board, candidates: Sequence[Candidate], label: Places, cost: float) -> list[FoundRule]:
    found = deepen.states(board, deepen.spots(board, candidates), label)
    board.features, more = deepen.with_states(board.features, found)
    rules = list[FoundRule]()
    for candidate in sorted(more, key=lambda one: -len(one.places)):
        rule = rule_of(candidate, board, label)
        if board.gain(rule, candidate.places) > cost * board.price(rule):
            board.apply(rule, candidate.places)
            rules.append(rule)
    return rules

"""Tables that many patterns share: what is looked up behind them agrees, so that it is one relation.

Behind each pattern the commonest word by key is a table of its own. Tables whose keys are of one class, or one
variable, are put together where they agree on their common keys; the words of the whole are the majority of all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.accounts.find.patterns import Candidate
from pellucid.accounts.find.stream import NONE, FlatRows, Places
from pellucid.accounts.find.variables import Values, Variable

AGREE = 0.9
"""The share of common keys on which tables agree that are one."""
CLEAR = 0.8
"""The share of its places at which a line is right that counts for that."""
REFUSED = -2
"""In the place of a table where there is none worth having."""
SAME = 0.9
"""A table with more than this share of lines alike is none."""
COMMON = 4
"""Common keys that are needed, fewer where a table has fewer."""


@dataclass
class Lookup:
    """A table to look a variable up in: for each key how often which label came next."""

    variable: Variable
    votes: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    users: int = 0
    asked: dict[int, int] = field(default_factory=dict)
    """What the model answers for each key, where it was asked; that counts."""
    told: Collection[int] = ()
    """The keys of those that it is asked for in the text."""

    @property
    def lines(self) -> dict[int, int]:
        """The label of each key."""
        said = {key: max(votes, key=lambda label: (votes[label], -label)) for key, votes in self.votes.items()}
        return said | self.asked


def labels(stream: FlatRows, first: Places) -> Places:
    """What the model says behind each place, as a word: the one of the text where it begins that one, or the usual."""
    said = np.where(stream.agrees & (first[np.maximum(stream.following, 0)] == stream.own), stream.following, NONE)
    return np.where(said >= 0, said, usual(stream, first)[stream.own])


def usual(stream: FlatRows, first: Places) -> Places:
    """For each token that the model says, the commonest word that begins with it; `-2 - token` where none does."""
    count = len(stream.words)
    width = int(stream.own.max(initial=0)) + 1
    following, own = stream.following[stream.agrees], stream.own[stream.agrees]
    pairs, seen = np.unique(own * (count + 1) + following, return_counts=True)
    found: Places = -2 - np.arange(width)
    order = np.argsort(seen, kind="stable")
    tokens, words = pairs[order] // (count + 1), pairs[order] % (count + 1)
    fits = first[words] == tokens
    found[tokens[fits]] = words[fits]
    return found


def first_of(label: Places, first: Places) -> Places:
    """The first tokens of labels; `NONE` of `NONE`."""
    return np.where(label >= 0, first[np.maximum(label, 0)], np.where(label < NONE, -2 - label, NONE))


def token_of(label: int, first: Places) -> int:
    """The first token of a label."""
    return int(first[label]) if label >= 0 else -2 - label


def shared(
    candidates: Sequence[Candidate], values: Values, label: Places, first: Places, known: Sequence[Lookup] = ()
) -> list[Lookup]:
    """The tables of all candidates that look something up, behind those `known`; each candidate is told its own."""
    by_key: dict[object, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.looks_up and candidate.variable is not None:
            of = candidate.variable.of
            by_key[candidate.variable if of is None else of].append(candidate)
    found: list[Lookup] = list(known)
    for of_key, group in by_key.items():
        mine: list[tuple[int, Lookup, dict[int, int]]] = [
            (number, table, {key: token_of(one, first) for key, one in table.lines.items()})
            for number, table in enumerate(known)
            if table.variable.of == of_key
        ]
        for candidate in sorted(group, key=lambda candidate: -candidate.right):
            assert candidate.variable is not None
            votes = _votes(candidate, values[candidate.variable], label)
            if not _differs(votes):
                candidate.table = REFUSED
                continue
            solid = _solid(votes, first)
            own = _joined(solid, votes, mine)
            if own is None:
                own = (len(found), Lookup(candidate.variable), {})
                found.append(own[1])
                mine.append(own)
            number, table, tokens = own
            candidate.table, table.users = number, table.users + 1
            for key, counts in votes.items():
                table.votes[key].update(counts)
                if key not in table.asked:
                    most = max(table.votes[key], key=lambda one: (table.votes[key][one], -one))
                    tokens[key] = token_of(most, first)
    return found


def _votes(candidate: Candidate, words: Places, label: Places) -> dict[int, Counter[int]]:
    keys = words[candidate.places]
    there = keys >= 0
    pairs, seen = np.unique(np.stack([keys[there], label[candidate.places[there]]]), axis=1, return_counts=True)
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for key, one, n in zip(*pairs.tolist(), seen.tolist(), strict=True):
        votes[key][one] += n
    return votes


def _differs(votes: dict[int, Counter[int]]) -> bool:
    """Whether what is looked up depends on the key: no one answer has nearly all lines."""
    answers = Counter(counts.most_common(1)[0][0] for counts in votes.values())
    return answers.most_common(1)[0][1] <= SAME * len(votes)


def _solid(votes: dict[int, Counter[int]], first: Places) -> dict[int, int]:
    """The first tokens of lines that were seen more than once and are mostly right."""
    found = {}
    for key, counts in votes.items():
        label, n = counts.most_common(1)[0]
        if n >= 2 and n >= CLEAR * counts.total():
            found[key] = token_of(label, first)
    return found


def _joined(
    solid: dict[int, int], votes: dict[int, Counter[int]], known: Sequence[tuple[int, Lookup, dict[int, int]]]
) -> tuple[int, Lookup, dict[int, int]] | None:
    """The table that agrees best with the lines `solid`; None where none does."""
    right = sum(counts.most_common(1)[0][1] for counts in votes.values())
    if right < CLEAR * sum(counts.total() for counts in votes.values()):
        return None
    best, found = (AGREE, 0), None
    for entry in known:
        common = [key for key in solid if key in entry[2]]
        if len(common) < max(2, min(COMMON, len(solid) // 2)):
            continue
        agree = sum(solid[key] == entry[2][key] for key in common) / len(common)
        if (agree, len(common)) >= best:
            best, found = (agree, len(common)), entry
    return found


def alike(tables: Sequence[Lookup], used: Sequence[int], first: Places) -> dict[int, int]:
    """For each of the tables `used` the one that it is the same as, of those with keys of one class; itself mostly.

    The larger table of two that agree takes in what the other was seen to say. What was asked for stays apart.
    """
    same: dict[int, int] = {}
    kept: list[tuple[int, dict[int, int]]] = []
    for number in sorted(set(used), key=lambda one: (-len(tables[one].votes), one)):
        tokens = {key: token_of(label, first) for key, label in tables[number].lines.items()}
        same[number] = number
        for other, known in kept if tables[number].variable.of is not None else ():
            common = [key for key in tokens if key in known]
            fits = sum(tokens[key] == known[key] for key in common)
            one_class = tables[other].variable.of == tables[number].variable.of
            apart = bool(tables[other].asked and tables[number].asked)
            if one_class and not apart and len(common) >= max(COMMON, len(tokens) / 2) and fits >= AGREE * len(common):
                same[number] = other
                for key, votes in tables[number].votes.items():
                    tables[other].votes[key].update(votes)
                break
        if same[number] == number:
            kept.append((number, tokens))
    return same

"""What patterns and variables leave: states kept up along the text, counted sentences, and conditions.

All of it is tried where many places of a pattern are still wrong, and kept where it gains more than it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from pellucid.accounts.find.choose import Board
from pellucid.accounts.find.features import Features, Guard, Tally, Vocabulary, fold_variable
from pellucid.accounts.find.folds import Fold, learned
from pellucid.accounts.find.patterns import Candidate
from pellucid.accounts.find.stream import NONE, Flags, Places
from pellucid.accounts.find.trees import Spot
from pellucid.accounts.find.variables import Variable

SHORT = 4
"""Elements of the patterns that are looked at."""
WRONG = 0.00015
"""The share of all places that are wrong behind a pattern that is looked at, at least."""
TOLD = 0.85
"""A state is kept that tells this share, and `BETTER` more than is told without it."""
BETTER = 0.03
OF_CLASS = 0.9
"""The share of what comes next that is of one class, behind patterns that states are tried for."""
TRIED = 40
"""Patterns that are looked at, those with the most wrong places."""
COMMON_WORDS = 250
CONDITIONS = 60
"""Words whose presence is tried as a condition, in the text and in the sentence."""
LATELY = 3
"""Sentences up to here that a word is looked for in, the last ones."""
LARGE, COMPARED = 8, 3
"""Members of classes whose members are compared, at least, and how many classes, the commonest."""
SAYS = (
    "text.first({name})",
    "text.last({name})",
    "text.other({name})",
    "text.second({name})",
    "text.nth({name}, -2)",
    "text.sentence().last({name})",
)
TALLIED_WORDS = 100
TALLIED_PLACES = 10_000
TALLIED = 10
"""Words that leave a sentence uncounted, at most."""


def spots(board: Board, candidates: Sequence[Candidate], longest: int = SHORT) -> list[Spot]:
    """The patterns with the most wrong places, the most first; of patterns with the same places the shortest."""
    stream = board.features.stream
    wrong = (board.said.token != stream.own) & stream.asked
    least = _least(board)
    found: dict[tuple[int, int, int], Spot] = {}
    for candidate in candidates:
        if candidate.variable is None and len(candidate.pattern) <= longest:
            count = int(wrong[candidate.places].sum())
            key = (len(candidate.places), int(candidate.places[0]), int(candidate.places[-1]))
            if count >= least and (key not in found or len(found[key].pattern) > len(candidate.pattern)):
                found[key] = Spot(candidate.pattern, candidate.places, count)
    return sorted(found.values(), key=lambda spot: -spot.wrong)


def worst(board: Board, known: Sequence[Spot]) -> list[Spot]:
    """The spots that still have enough wrong places, first those of many that are most of what stands there."""
    stream = board.features.stream
    wrong = (board.said.token != stream.own) & stream.asked
    counted = [replace(spot, wrong=int(wrong[spot.places].sum())) for spot in known]
    kept = [spot for spot in counted if spot.wrong >= _least(board)]
    return sorted(kept, key=lambda spot: -(spot.wrong**2) / len(spot.places))


def _least(board: Board) -> int:
    """Wrong places of a spot, at least."""
    return max(20, int(WRONG * len(board.features.stream)))


def slots_of(slots: Places, said: Places) -> Places:
    """The class of each token in `said`; none where there is no token (below 0)."""
    return np.where(said >= 0, slots[np.maximum(said, 0)], NONE)


def states(board: Board, found: Sequence[Spot], label: Places) -> list[tuple[Fold, list[Spot]]]:
    """States that tell what comes next behind patterns, each with the patterns that it is for."""
    features = board.features
    stream = features.stream
    wrong = board.said.token != stream.own
    kept: list[tuple[Fold, Places, list[Spot]]] = []
    for spot in [spot for spot in found if spot.wrong >= 0.03 * len(spot.places)][:TRIED]:
        said = label[spot.places]
        of = slots_of(features.slots, said)
        if not (of >= 0).any() or (of == (most := int(np.bincount(of[of >= 0]).argmax()))).mean() < OF_CLASS:
            continue
        before = 1 - wrong[spot.places].mean()
        if fits := [entry for entry in kept if (entry[1][spot.places] == said).mean() > max(TOLD, before + BETTER)]:
            fits[0][2].append(spot)
            continue
        fold, share = learned(features.sentences, spot.places, said, most)
        if share > max(TOLD, before + BETTER):
            state = features.sentences.state(fold)
            if (state[spot.places] == said).mean() > max(TOLD, before + BETTER):
                kept.append((fold, state, [spot]))
    return [(fold, where) for fold, _, where in kept]


def with_states(features: Features, found: Sequence[tuple[Fold, list[Spot]]]) -> tuple[Features, list[Candidate]]:
    """The features with these states, and the rules that copy them."""
    folds = (*features.known.folds, *(fold for fold, _ in found))
    more = Features(features.stream, replace(features.known, folds=folds), features.slots, features._flags)
    more.__dict__.update(sentences=features.sentences)
    values = dict(features.values)
    candidates = []
    for number, (fold, where) in enumerate(found, start=len(features.known.folds)):
        variable = fold_variable(number, fold.of)
        values[variable] = features.sentences.state(fold)
        candidates += [Candidate(spot.pattern, spot.places, variable) for spot in where]
    more.__dict__.update(values=values)
    return more, candidates


def conditions(features: Features) -> list[Guard]:
    """The conditions that are tried."""
    stream = features.stream
    longest = int((stream.places - stream.begins + 1)[stream.asked].max(initial=1))
    steps = sorted({max(2, round(longest * share / 20)) for share in range(1, 20)})
    often = Counter(stream.word[stream.whole].tolist()).most_common(COMMON_WORDS)
    words = [stream.words.texts[word] for word, _ in often]
    found = [Guard("long", least) for least in steps]
    for kind, count in (("has", 0), *(("lately", count) for count in range(1, LATELY + 1))):
        guards = [Guard(kind, count, word) for word in words]
        shares = [(float(features.flags(guard)[stream.asked].mean()), guard) for guard in guards]
        telling = sorted((-(share * (1 - share)), guard.word, guard) for share, guard in shares if 0.01 < share < 0.99)
        found += [guard for _, _, guard in telling[:CONDITIONS]]
    return [*found, *_compared(features)]


def _compared(features: Features) -> Iterator[Guard]:
    """Whether members of a class that stand at different places are the same, and whether there are any."""
    groups = features.known.classes
    for number in [number for number, group in enumerate(groups) if len(group.members) >= LARGE][:COMPARED]:
        own = [Variable(says, number) for says in SAYS]
        yield from (Guard("known", about=(variable,)) for variable in own)
        yield from (Guard("same", about=pair) for pair in combinations(own, 2))


def tallies(board: Board, spot: Spot, label: Places, words: Sequence[str]) -> list[tuple[Tally, int, int]]:
    """Counted sentences that tell when something is said behind a pattern: what is counted, from how many on, what."""
    stream = board.features.stream
    wrong = board.said.token[spot.places] != stream.own[spot.places]
    said, seen = np.unique(label[spot.places][wrong], return_counts=True)
    found = []
    for one in said[np.argsort(-seen, kind="stable")][:3]:
        if seen[said == one] < max(20, WRONG * len(stream)):
            continue
        told = label[spot.places] == one
        if 0.02 < told.mean() < 0.98:
            tally, least = _tally(board.features, spot.places, told, words)
            found.append((tally, least, int(one)))
    return found


def _tally(features: Features, places: Places, told: Flags, words: Sequence[str]) -> tuple[Tally, int]:
    """The words whose sentences are best left uncounted, and the count from which on most is told right."""
    stream, sentences = features.stream, features.sentences
    if len(places) > TALLIED_PLACES:
        chosen = np.random.default_rng(0).permutation(len(places))[:TALLIED_PLACES]
        places, told = places[chosen], told[chosen]
    ends = np.array([sentence.end for sentence in sentences.all], dtype=np.int64)
    order = np.argsort(ends)
    ends = ends[order]
    has = {word: np.isin(ends, ends[~features.counted(Tally((word,)))[order]]) for word in words}
    first, last = np.searchsorted(ends, stream.begins[places]), np.searchsorted(ends, places, "right")

    def split(flags: Flags) -> tuple[float, int]:
        total = np.append(0, np.cumsum(flags))
        counts = total[last] - total[first]
        right, every = np.bincount(counts, told, minlength=2), np.bincount(counts, minlength=2)
        above = np.cumsum((right / told.sum() - (every - right) / (~told).sum())[::-1])[::-1]
        return float(above.max()), int(above.argmax())

    flags, without = np.ones(len(ends), dtype=bool), list[str]()
    best = split(flags)
    while len(without) < TALLIED:
        trials = [(split(flags & ~there), word) for word, there in has.items() if word not in without]
        trial, word = max(trials, key=lambda entry: entry[0][0], default=(best, ""))
        if trial[0] < best[0] + 0.002:
            break
        best, flags = trial, flags & ~has[word]
        without.append(word)
    return Tally(tuple(without)), best[1]


def with_tallies(features: Features, found: Sequence[Tally]) -> tuple[Features, list[Guard]]:
    """The features with these counts, and conditions that ask for them."""
    known: Vocabulary = replace(features.known, counters=(*features.known.counters, *found))
    more = Features(features.stream, known, features.slots, features._flags)
    more.__dict__.update(sentences=features.sentences, values=features.values)
    return more, counts(more)


def counts(features: Features) -> list[Guard]:
    """Conditions that ask how many sentences are counted."""
    found = []
    for number in range(len(features.known.counters)):
        most = int(features.counts[str(number)].max(initial=0))
        found += [Guard("counts", least, str(number)) for least in range(1, min(most, 12) + 1)]
    return found

"""Relations that the model answers by itself: wordings of the text that name a member of a class, asked about them all.

What stands from the sentence that names a member up to a place is a wording. The model is asked each wording with every
member of the class in its place. Where it answers as it does in the text, whatever stands before, and by member, the
wording asks for a relation; wordings whose answers agree ask for the same one. So a wording that the text has seldom
becomes a pattern of a table that others have paid for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from pellucid.accounts.asked import PLACE
from pellucid.accounts.find.features import Features
from pellucid.accounts.find.patterns import Candidate, Pattern, slot_element
from pellucid.accounts.find.stream import NONE, FlatRows, Places
from pellucid.accounts.find.tables import Lookup
from pellucid.accounts.find.variables import Mentions, Variable
from pellucid.base.progress import track

KEYS = 8
"""Members of a class that relations are looked for of, and that the text has a relation with, at least."""
SEEN, DIFFERENT = 4, 3
"""Places of a wording, and members that it is seen with, at least."""
WIDE = 40
"""Tokens of a wording, at most."""
LONGEST = 9
"""Elements of a pattern."""
TRIED = 600
"""Wordings of a class that are asked, the commonest."""
SAMPLE = 6
"""Members that a wording is asked with first, of those that the text has it with."""
AGREES = 0.85
"""How often the model answers a wording alone as it does in the text, and wordings of one relation agree."""
SHARED = 0.5
"""Of the members that two wordings of one relation are seen with, this share of the fewer is common to both."""
SAME = 0.9
"""A wording that has more answers alike than this share asks for no relation."""
TWICE = 2
"""How often the text has an answer that counts more than what the model says when asked."""
COPIED = 0.5
"""Nor does one that is gone on with by the member itself so often."""
SURE, ROOM = 0.98, 0.01
"""A shorter pattern stands for a wording where it is right so often, or so little less often than a longer one."""

THIRD = 1 / 3
"""The share of a class that the text has a relation with, at least, where a table has lines for the others too."""

Says = Callable[[Sequence[str]], Places]
"""The token that the model says behind each of some texts."""


@dataclass
class Wording:
    """A text with `PLACE` for a member, its places, the member at each, and what the model says there."""

    text: str
    places: Places
    keys: Places
    own: Places
    at: int
    """Where the member stands at the first of the places."""
    within: tuple[int, int]
    """Where the wording begins there, and where it has ended."""
    answers: dict[int, int] = field(default_factory=dict)
    """The token that is said for each member, when asked."""

    @property
    def seen(self) -> dict[int, int]:
        """What is said most in the text for each member that it has there."""
        votes: dict[int, Counter[int]] = defaultdict(Counter)
        for key, token in zip(self.keys.tolist(), self.own.tolist(), strict=True):
            votes[key][token] += 1
        return {key: counts.most_common(1)[0][0] for key, counts in votes.items()}


@dataclass
class Relation:
    """Wordings that have the same answers, the commonest first."""

    of: int
    wordings: list[Wording] = field(default_factory=list)

    @property
    def answers(self) -> dict[int, int]:
        """The token that is said for each member: as the text has it, else as most wordings are answered."""
        votes: dict[int, Counter[int]] = defaultdict(Counter)
        told: dict[int, Counter[int]] = defaultdict(Counter)
        for wording in self.wordings:
            for key, token in wording.answers.items():
                votes[key][token] += len(wording.places)
            for key, token in zip(wording.keys.tolist(), wording.own.tolist(), strict=True):
                told[key][token] += 1
        found = {key: counts.most_common(1)[0][0] for key, counts in votes.items()}
        for key, counts in told.items():
            token, hits = counts.most_common(1)[0]
            if hits >= TWICE and hits >= AGREES * counts.total():
                found[key] = token
        return found

    @property
    def seen(self) -> set[int]:
        """The members that the text has one of the wordings with."""
        return {key for wording in self.wordings for key in wording.keys.tolist()}


def relations(features: Features, first: Places, says: Says) -> list[Relation]:
    """The relations of all classes."""
    found: list[Relation] = []
    for number, group in enumerate(features.known.classes):
        if len(group.members) >= KEYS:
            known = wordings(features.stream, Mentions(features.stream, group), _alike(features, number), first)
            alone = [wording for wording in known if _is_alone(features.stream, wording, group.members)]
            joined = _joined(number, _answered(features.stream, alone[:TRIED], group.members, says))
            found += [relation for relation in joined if len(relation.seen) >= KEYS]
    return found


def _alike(features: Features, own: int) -> Places:
    """By word a number that words share which do not make another wording: members of one class as large as `own`."""
    groups = features.known.classes
    found: Places = np.arange(len(features.stream.words) + 1)
    for number, group in enumerate(groups):
        if number != own and group.slot and len(group.members) >= len(groups[own].members):
            found[list(group.members)] = group.members[0]
    return found


def _is_alone(stream: FlatRows, wording: Wording, members: Collection[int]) -> bool:
    """Whether no other word of a wording is of the class of its member."""
    low, high = wording.within
    others = [place for place in range(low, high) if place != wording.at and stream.closed[place]]
    return set(stream.word[others].tolist()).isdisjoint(members)


# --- wordings ---------------------------------------------------------------------------------------------------------


def wordings(stream: FlatRows, mentions: Mentions, alike: Places, first: Places) -> Iterator[Wording]:
    """What the text asks of members of a class, the commonest first, where what comes next differs by member.

    Words that are `alike` make no different wordings.
    """
    asked = np.flatnonzero(stream.asked & ~stream.ends)
    at = mentions.last[asked]
    asked, at = asked[at >= 0], at[at >= 0]
    starts = np.maximum(stream.sentence[at], stream.begins[at])
    there = (asked - starts < WIDE) & (at > NONE) & mentions.whole[at]
    asked, at, starts = asked[there], at[there], starts[there]
    _, group = np.unique(_hashes(stream, alike, starts, at, asked), axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    sizes = np.bincount(group.ravel())
    bounds = np.append(0, np.cumsum(sizes))
    for number in np.argsort(-sizes, kind="stable").tolist():
        if sizes[number] < SEEN:
            return
        mine = order[bounds[number] : bounds[number + 1]]
        wording = _wording(stream, starts[mine], at[mine], asked[mine])
        if wording and _differs(wording.own, wording.keys, first):
            yield wording


def _hashes(
    stream: FlatRows, alike: Places, starts: Places, at: Places, places: Places
) -> Int[np.ndarray, "_wording side"]:
    """Two numbers by which wordings differ: of the words before the member, and of those behind it."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    found = []
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(WIDE + 1, odd, np.uint64))
        for last, low in ((stream.back(at), starts), (places, at + 1)):
            total, current = np.zeros(len(places), np.uint64), last
            for power in powers:
                inside = current >= low
                if not inside.any():
                    break
                word = (alike[stream.word[np.maximum(current, 0)]] + 1).astype(np.uint64)
                total += np.where(inside, word * power ^ (word << np.uint64(17)), np.uint64(0))
                current = np.where(inside, stream.back(current), NONE)
            found.append(total.view(np.int64))
    return np.stack(found, axis=1)


def _wording(stream: FlatRows, starts: Places, at: Places, places: Places) -> Wording | None:
    """The wording at some places; None where a person could not write it down as a prompt."""
    pieces = stream.words.spelling.pieces
    start, mention, place = int(starts[0]), int(at[0]), int(places[0])
    before = "".join(pieces[token] for token in stream.ids[start : stream.unit[mention]].tolist())
    behind = "".join(pieces[token] for token in stream.ids[mention + 1 : place + 1].tolist())
    gap = " " if pieces[int(stream.ids[stream.unit[mention]])][:1] == " " else ""
    plain = f"{before}{behind}"
    if set("{}\n\t") & set(plain) or not plain.isprintable():
        return None
    return Wording(
        f"{before}{gap}{PLACE}{behind}".strip(),
        places,
        stream.word[at],
        stream.own[places],
        mention,
        (start, place + 1),
    )


def _differs(own: Places, keys: Places, first: Places) -> bool:
    """Whether what comes next depends on the member, on little else, and is not the member itself."""
    if len(np.unique(keys)) < DIFFERENT or np.bincount(own).max() > SAME * len(own):
        return False
    if (first[keys] == own).mean() >= COPIED:
        return False
    pairs, seen = np.unique(np.stack([keys, own]), axis=1, return_counts=True)
    most, every = np.zeros(int(keys.max()) + 1), np.bincount(keys)
    np.maximum.at(most, pairs[0], seen)
    often = every >= 2
    return bool(most[often].sum() >= AGREES * every[often].sum())


# --- answers ----------------------------------------------------------------------------------------------------------


@dataclass
class _Asking:
    """Asks wordings; what was asked once is kept."""

    texts: Sequence[str]
    says: Says
    kept: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def answers(self, text: str, keys: Sequence[int]) -> dict[int, int]:
        """The token that is said behind `text` with each of `keys` in its place."""
        said = self.kept[text]
        left = [key for key in keys if key not in said]
        said.update(zip(left, self.says([text.replace(PLACE, self.texts[key]) for key in left]).tolist(), strict=True))
        return {key: said[key] for key in keys}

    def fits(self, text: str, seen: Mapping[int, int]) -> bool:
        """Whether some members that a wording is seen with are answered as in the text."""
        sample = sorted(seen)[:: max(1, len(seen) // SAMPLE)][:SAMPLE]
        tried = self.answers(text, sample)
        return sum(tried[key] == seen[key] for key in sample) >= AGREES * len(sample)


def _answered(stream: FlatRows, known: Sequence[Wording], members: Sequence[int], says: Says) -> list[Wording]:
    """The wordings that are answered by member, and as in the text, with their answers for all members.

    One that begins no texts is asked behind a text that it stands in.
    """
    asking, found = _Asking(stream.words.texts, says), []
    for wording in track(known, "asking for relations", len(known)):
        seen = wording.seen
        text = next((text for text in (wording.text, _led(stream, wording)) if text and asking.fits(text, seen)), None)
        if text is None:
            continue
        wording.answers = asking.answers(text, members)
        alone = np.array([wording.answers.get(key, NONE) for key in wording.keys.tolist()])
        counts = Counter(wording.answers.values())
        if (alone == wording.own).mean() >= AGREES and counts.most_common(1)[0][1] <= SAME * len(members):
            found.append(wording)
    return found


def _led(stream: FlatRows, wording: Wording) -> str:
    """A wording behind what stands before it at one of its places; empty where that is nothing or cannot be written."""
    start = wording.within[0]
    pieces = stream.words.spelling.pieces
    lead = "".join(pieces[token] for token in stream.ids[int(stream.begins[start]) : start].tolist())
    gap = " " if pieces[int(stream.ids[start])][:1] == " " else ""
    return f"{lead.lstrip()}{gap}{wording.text}" if lead.strip() and not set("{}") & set(lead) else ""


def _joined(of: int, known: Sequence[Wording]) -> Iterator[Relation]:
    """Wordings with the same answers put together: about the same members, and agreeing on all that either is about."""
    found: list[Relation] = []
    for wording in known:
        best, into = 0.0, None
        for relation in found:
            answers = relation.answers
            seen, mine = relation.seen, set(wording.keys.tolist())
            agree = min(np.mean([answers[key] == wording.answers[key] for key in keys]) for keys in (mine, seen))
            if agree > best and len(mine & seen) >= SHARED * min(len(mine), len(seen)):
                best, into = float(agree), relation
        if into is None or best < AGREES:
            found.append(into := Relation(of))
        into.wordings.append(wording)
    yield from found


# --- patterns ---------------------------------------------------------------------------------------------------------


def proposed(
    features: Features, found: Sequence[Relation], label: Places, usual: Places
) -> tuple[list[Lookup], list[Candidate]]:
    """A table for each relation, and the patterns that ask for it.

    `label` is what the model says at every place, as a word; `usual` for each token what it mostly begins.
    """
    tables, candidates = [], []
    for number, relation in enumerate(found):
        variable = Variable("text.last({name})", relation.of)
        answers = relation.answers
        asked, members = _labelled(relation, label, usual), features.known.classes[relation.of].members
        if not is_about_all(relation.seen, members):
            answers = {key: token for key, token in answers.items() if key in relation.seen}
        table = Lookup(variable, asked={key: asked[key] for key in answers}, told=relation.seen)
        tokens = np.full(len(features.stream.words) + 1, NONE)
        tokens[list(answers)] = list(answers.values())
        said = tokens[features.values[variable]]
        patterns = dict.fromkeys(
            pattern for wording in relation.wordings if (pattern := _shortest(features, wording, said))
        )
        for pattern in patterns:
            places = features.matching(pattern)
            candidates.append(Candidate(pattern, places, variable, looks_up=True, table=number))
        table.users = len(patterns)
        tables.append(table)
    return tables, candidates


def is_about_all(told: Collection[int], members: Sequence[int]) -> bool:
    """Whether so many members of a class have a relation that all of them may be asked about it."""
    return len(set(told) & set(members)) >= THIRD * len(members)


def _labelled(relation: Relation, label: Places, usual: Places) -> dict[int, int]:
    """The answers as words: as the text has them for a member, else as it has them for others, else as usual."""
    own: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    any_: dict[int, Counter[int]] = defaultdict(Counter)
    for wording in relation.wordings:
        for key, token, word in zip(
            wording.keys.tolist(), wording.own.tolist(), label[wording.places].tolist(), strict=True
        ):
            own[key, token][word] += 1
            any_[token][word] += 1
    found = {}
    for key, token in relation.answers.items():
        words = own.get((key, token)) or any_.get(token)
        common = int(usual[token]) if token < len(usual) else -2 - token
        found[key] = words.most_common(1)[0][0] if words else common
    return found


def _shortest(features: Features, wording: Wording, said: Places) -> Pattern:
    """The shortest end of a wording behind which its relation is right about as often as behind any.

    Its words stand for their classes where that is as right.
    """
    stream = features.stream
    place, elements = int(wording.places[0]), list[int]()
    key = int(wording.keys[0])
    at, below = place, False
    start = place - WIDE
    while at >= max(start, int(stream.begins[place])) and len(elements) < LONGEST:
        word = int(stream.word[at])
        slot = int(features.slots[word])
        if word == key and not below:
            if slot < 0:
                break
            elements.append(int(slot_element(np.array([slot]))[0]))
            below = True
        else:
            elements.append(word)
        at = int(stream.back(np.array([at]))[0])
        if at < 0:
            break
    ends = [tuple(reversed(elements[:length])) for length in range(1, len(elements) + 1)]
    least = max(SEEN, len(wording.places) // 2)
    shares = [_share(features, pattern, said, least) for pattern in ends]
    best = max(shares, default=0.0)
    if best < AGREES:
        return ()
    enough = min(SURE, best - ROOM)
    chosen = next(pattern for pattern, share in zip(ends, shares, strict=True) if share >= enough)
    for at, element in enumerate(chosen):
        if element >= 0 and features.slots[element] >= 0:
            slot = int(slot_element(features.slots[[element]])[0])
            wider = (*chosen[:at], slot, *chosen[at + 1 :])
            chosen = wider if _share(features, wider, said, least) >= enough else chosen
    return chosen


def _share(features: Features, pattern: Pattern, said: Places, least: int) -> float:
    """How often `said` is right behind a pattern; 0 of one with fewer than `least` places."""
    stream = features.stream
    places = features.matching(pattern)
    places = places[stream.asked[places]]
    return float((said[places] == stream.own[places]).mean()) if len(places) >= least else 0.0

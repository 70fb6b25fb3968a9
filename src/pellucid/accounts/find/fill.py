"""Tables filled by asking: what the model answers for every member of the class that the keys are of.

The wordings are those of the fit text: what stands there from the sentence that names the key up to the place of the
rule, with another key in its place. A key that the text never has there is asked about, too: what the model answers is
a phantom then, and is marked as never told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.accounts.answers import Answer, whole_answers
from pellucid.accounts.asked import NEVER, PLACE
from pellucid.accounts.find.choose import Board, FoundRule
from pellucid.accounts.find.relations import is_about_all
from pellucid.accounts.find.spelling import is_cell
from pellucid.accounts.find.stream import FlatRows, Places, Words
from pellucid.accounts.find.tables import Lookup
from pellucid.base.work import mapped
from pellucid.exact.model import Model

WORDINGS = 4
"""Wordings that a table is asked in, the commonest."""
LOOKED_AT = 400
"""Places of a rule whose wordings are looked at."""
KEYS = 8
"""Keys of a table that is asked for, at least."""
AGREED = 0.85
"""How far wordings must agree with each other, and with the fit text, in the mean."""
LONGEST = 160
"""Letters of a wording."""
YES, OTHERWISE = "yes", "otherwise"


@dataclass(frozen=True)
class Filled:
    """A table: its wordings, and by key answer, agreement, margin and whether the text says so."""

    asks: tuple[str, ...]
    lines: dict[str, tuple[str, str, str, str]]


def filled(board: Board, rules: Sequence[FoundRule], model: Model) -> dict[int, Filled]:
    """The tables of `rules` whose keys are members of a class, by number, filled by asking `model`."""
    numbers = list(dict.fromkeys(rule.table for rule in rules if _is_asked(board, rule)))

    def table(number: int) -> Filled | None:
        mine = [rule for rule in rules if rule.table == number and _is_asked(board, rule)]
        asks = _wordings(board, mine)
        return _asked(board, mine, asks, model) if asks else None

    found = zip(numbers, mapped(table, numbers, "asking for tables"), strict=True)
    return {number: filled for number, filled in found if filled is not None}


def _is_asked(board: Board, rule: FoundRule) -> bool:
    """Whether a rule looks up a member of a class in a table of many lines with several answers."""
    if rule.table < 0 or rule.variable is None or rule.variable.of is None:
        return False
    lines = board.tables[rule.table].lines
    return len(lines) >= KEYS and len(set(lines.values())) > 2


def _wordings(board: Board, rules: Sequence[FoundRule]) -> list[str]:
    """The commonest wordings behind which the rules look something up."""
    stream, words = board.features.stream, board.features.stream.words
    seen = Counter[str]()
    for rule in rules:
        assert rule.variable is not None
        keys = board.features.values[rule.variable]
        places = board.places(rule)
        places = places[(keys[places] >= 0) & stream.agrees[places]]
        for place in places[:: max(1, len(places) // LOOKED_AT)].tolist():
            if wording := _wording(stream, place, words.texts[keys[place]]):
                seen[wording] += 1
    plain = [wording for wording, _ in sorted(seen.items(), key=lambda entry: (-entry[1], len(entry[0]), entry[0]))]
    return plain[:WORDINGS]


def _wording(stream: FlatRows, place: int, key: str) -> str:
    """What stands up to `place` from the sentence that names `key` on, with the place of the key; empty if too long."""
    at = place
    number = stream.words.numbers[key]
    while at >= stream.begins[place] and stream.word[at] != number:
        at -= 1
    if at < stream.begins[place]:
        return ""
    start = max(int(stream.sentence[at]), int(stream.begins[place]))
    pieces = stream.words.spelling.pieces
    before = "".join(pieces[token] for token in stream.ids[start : stream.unit[at]].tolist())
    behind = "".join(pieces[token] for token in stream.ids[at + 1 : place + 1].tolist())
    own = "".join(pieces[token] for token in stream.ids[stream.unit[at] : at + 1].tolist())
    gap = " " if own[:1] == " " else ""
    wording = f"{before}{gap}{PLACE}{behind}".strip()
    plain = wording.replace(PLACE, "", 1)
    return wording if len(wording) <= LONGEST and not set("{}\n\t") & set(plain) else ""


def _asked(board: Board, rules: Sequence[FoundRule], asks: Sequence[str], model: Model) -> Filled | None:
    """The table as the model answers it; None where that depends on more than the key, and is no table of its own."""
    words = board.features.stream.words
    assert rules[0].variable is not None
    assert rules[0].variable.of is not None
    table = _learned(board.tables[rules[0].table])
    every = board.features.known.classes[rules[0].variable.of].members
    members = every if is_about_all(table, every) else tuple(member for member in every if member in table)
    keys = [words.texts[member] for member in members]
    answers = []
    for ask in asks:
        prompts = [model.tokenizer.opened(ask.replace(PLACE, key)) for key in keys]
        answers.append(whole_answers(model, prompts))
    told = _told(board, rules)
    lines, agreed, known = {}, 0.0, 0
    for at, (member, key) in enumerate(zip(members, keys, strict=True)):
        said = [mine[at] for mine in answers]
        usual, hits = Counter(one.bare for one in said).most_common(1)[0]
        answer, agreed, learned = usual, agreed + hits / len(said), table.get(member)
        if learned is not None and learned >= 0:
            sure = words.texts[learned] in told.get(member, ())
            alike = [one.bare for one in said if _bears_out(one, learned, words, sure=sure)]
            known += usual in alike
            if usual not in alike:
                answer, hits = (alike[0], alike.count(alike[0])) if alike else (words.texts[learned], 0)
        else:
            known += 1
        if not answer or not is_cell(answer):
            continue
        first = answer.split(" ")[0]
        status = YES if first in told.get(member, ()) else OTHERWISE if told.get(member) else NEVER
        margin = float(np.mean([one.margin for one in said if one.bare == answer] or [0.0]))
        lines[key] = (answer, f"{hits / len(said):.2f}", f"{margin:.1f}", status)
    if min(agreed, known) < AGREED * len(keys):
        return None
    return Filled(tuple(asks), dict(sorted(lines.items())))


def _bears_out(answer: Answer, learned: int, words: Words, *, sure: bool) -> bool:
    """Whether an answer is the word that was learned.

    Unless the text says it there (`sure`) it is the usual one that begins so, and of it the first token alone counts.
    """
    first = answer.ids[answer.lead : answer.lead + 1]
    begins = bool(first) and first == tuple(words.said(learned)[:1])
    return answer.bare.startswith(words.texts[learned]) or (begins and not sure)


def _learned(table: Lookup) -> dict[int, int]:
    """The lines of a table that the text bears out."""
    return {key: label for key, label in table.lines.items() if key not in table.asked or key in table.told}


def _told(board: Board, rules: Sequence[FoundRule]) -> dict[int, set[str]]:
    """What the fit text says for each key where the rules speak: the words that come next."""
    stream = board.features.stream
    found: dict[int, set[str]] = {}
    for rule in rules:
        assert rule.variable is not None
        places: Places = board.places(rule)
        keys, following = board.features.values[rule.variable][places], stream.following[places]
        pairs = np.unique(np.stack([keys, following])[:, (keys >= 0) & (following >= 0)], axis=1)
        for key, word in pairs.T.tolist():
            found.setdefault(key, set()).add(stream.words.texts[word])
    return found

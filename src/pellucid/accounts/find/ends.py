"""Rare ends of texts behind which one thing always comes: lines of tables from the last words to that.

Each of them is too rare to tell whether it can be relied on. Pooled, as the lines of a table that one rule looks up,
they can be judged. They count where no rule speaks that asks for more, and none that can be relied on by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int

from pellucid.accounts.find.choose import Board, FoundRule, rank_of
from pellucid.accounts.find.patterns import commonest
from pellucid.accounts.find.program import MOSTLY, Behaviour
from pellucid.accounts.find.spelling import FreeNames, is_cell
from pellucid.accounts.find.stream import NONE, Flags, FlatRows, Places
from pellucid.accounts.find.variables import quoted
from pellucid.accounts.find.write import AccountFiles
from pellucid.accounts.kinds import escaped
from pellucid.accounts.language import TAIL

SURE = 0.98
"""How often one thing comes behind an end where it as good as always does."""
HEARD = 0.001
"""The share of places at which a rule speaks that check text is long enough for to tell whether it is reliable."""
FRAME = 9
"""Symbols of the rule that looks ends up, or that has them as patterns."""
TITLE = "always_behind"
_BITS = 21
_MOST = np.iinfo(np.int64).max


Tails = tuple[Places, Flags, list[Places]]
"""Of ends of some words: where that of each place begins, whether there is one, and its words, the last one first."""


@dataclass(frozen=True)
class EndLine:
    """The text of an end, the token that comes behind it, and what the line is worth: places less its price."""

    text: str
    answer: int
    worth: float


@dataclass(frozen=True)
class Ends:
    """Lines from ends to what comes next, and the token that they say at every place, `NONE` for nothing."""

    said: Places
    comes: dict[str, str] = field(default_factory=dict)
    """What is set behind them as a word of its own."""
    goes_on: dict[str, str] = field(default_factory=dict)
    """What is set behind them without a blank."""
    marks: dict[str, list[str]] = field(default_factory=dict)
    """Ends that no cell of a table can hold, such as those of lines, or whose answer none can: by that answer."""

    def __len__(self) -> int:
        return len(self.comes) + len(self.goes_on) + sum(map(len, self.marks.values()))


def ends(stream: FlatRows, tune: FlatRows, asks: Places, price: float) -> Ends:
    """The ends that are worth a line on a text: `price` places for each of its symbols.

    `asks` is how much that rule asks for which speaks at a place: nothing is looked up where it asks for more words.
    Lines that are wrong on `tune` text more often than they may be are left out.
    """
    by, lines = np.full(len(stream), NONE), list[EndLine]()
    for count, (begins, valid, columns) in enumerate(_tails(stream), start=1):
        open_there = valid & (asks <= rank_of(0, count, count)) & (by == NONE)
        _add(lines, by, stream, (begins, valid, columns), open_there, price)
    wrong = _wrong(tune, lines)
    return _as_written(stream, [line for line in lines if line.text not in wrong], lines, by, price)


def _tails(stream: FlatRows) -> Iterator[Tails]:
    """The ends of one word of every place, of two and so on."""
    blank = np.array([not text.strip(" ") for text in stream.words.texts] or [True])
    back, valid, columns = stream.places, ~stream.ends & ~stream.last, list[Places]()
    for count in range(1, TAIL + 1):
        back = stream.back(back) if count > 1 else back
        columns.append(stream.at(back))
        valid = valid & (back >= 0) & ~blank[columns[-1]]
        yield stream.unit[np.maximum(back, 0)], valid, columns


def _add(
    lines: list[EndLine],
    by: Places,
    stream: FlatRows,
    tails: Tails,
    open_there: Flags,
    price: float,
) -> None:
    """Add the ends of so many words that pay where they are `open_there`, and note in `by` where they speak."""
    begins, valid, columns = tails
    places = np.flatnonzero(valid)
    if not len(places):
        return
    group = _grouped([words[places] for words in columns])
    _, sure, gain = _answers(group, stream.own[places], open_there[places])
    at = places[(sure & (gain > price * (len(columns) + 1)))[group]]
    if not len(at):
        return
    texts = np.array([_text(stream, *there) for there in zip(begins[at].tolist(), at.tolist(), strict=True)])
    keys, one, key = np.unique(texts, return_index=True, return_inverse=True)
    answer, sure, gain = _answers(key, stream.own[at], open_there[at])
    worth = gain - price * (at - begins[at] + 2)[one]
    chosen = np.flatnonzero(sure & (worth > 0))
    number = np.full(len(keys), NONE)
    number[chosen] = len(lines) + np.arange(len(chosen))
    lines += [EndLine(str(keys[n]), int(answer[n]), float(worth[n])) for n in chosen]
    told = (number[key] >= 0) & (by[at] == NONE)
    by[at[told]] = number[key[told]]


def _wrong(tune: FlatRows, lines: Sequence[EndLine]) -> set[str]:
    """The ends of lines that are wrong on a text more often than they may be."""
    known = {line.text: line.answer for line in lines}
    seen, right = Counter[str](), Counter[str]()
    for begins, valid, _ in _tails(tune):
        for place in np.flatnonzero(valid).tolist():
            text = _text(tune, int(begins[place]), place)
            if text in known:
                seen[text] += 1
                right[text] += known[text] == int(tune.own[place])
    return {text for text, count in seen.items() if right[text] < SURE * count}


def _as_written(stream: FlatRows, kept: Sequence[EndLine], lines: Sequence[EndLine], by: Places, price: float) -> Ends:
    """The lines that are `kept` in tables, or as patterns, those left out that do not pay for their rule."""
    found, answers = Ends(np.full(len(stream), NONE)), dict[str, int]()
    groups = defaultdict[tuple[str, str], list[tuple[EndLine, str]]](list)
    for line in (line for line in kept if _can_say(stream, line.answer)):
        kind, said = _cell(stream, line.text, line.answer)
        groups[kind, said if kind == "marks" else ""].append((line, said))
    for (kind, answer), group in groups.items():
        if sum(line.worth for line, _ in group) > price * FRAME:
            answers |= {line.text: line.answer for line, _ in group}
            if kind == "marks":
                found.marks[answer] = sorted(line.text for line, _ in group)
            else:
                getattr(found, kind).update((line.text, said) for line, said in group)
    tokens = np.array([*(answers.get(line.text, NONE) for line in lines), NONE])
    found.said[:] = tokens[by]
    return found


def _can_say(stream: FlatRows, token: int) -> bool:
    """Whether the text of a token is cut into it: one that is a part of a character has none."""
    spelling = stream.words.spelling
    try:
        return spelling.encode(spelling.pieces[token])[:1] == [token]
    except Exception:
        return False


def _cell(stream: FlatRows, key: str, token: int) -> tuple[str, str]:
    """How a line is written: in which table and with which answer, or as `marks`, with the whole token."""
    spelling = stream.words.spelling
    piece = spelling.pieces[token]
    apart = not spelling.spaced or (piece[:1] == " " and piece[1:2].isalnum())
    text = piece.strip(" ") if apart else piece
    held = is_cell(text) and is_cell(key)
    return ("comes" if apart else "goes_on") if held else "marks", text if held else piece


def _grouped(columns: Sequence[Places]) -> Int[np.ndarray, " place"]:
    """Which places end in the same words."""
    group = columns[0]
    for column in columns[1:]:
        _, group = np.unique(group, return_inverse=True)
        group = group * (1 << _BITS) + column
    return np.unique(group, return_inverse=True)[1]


def _answers(
    group: Int[np.ndarray, " place"], own: Int[np.ndarray, " place"], counted: Flags
) -> tuple[Places, Flags, Places]:
    """Of each group what the model says most, if it as good as always does, and how often where it is `counted`."""
    total, answer, most = commonest(group, own)
    gain = np.bincount(group, counted & (answer[group] == own), minlength=len(total)).astype(np.int64)
    return answer, most >= SURE * total, gain


def _text(stream: FlatRows, start: int, end: int) -> str:
    """The text of the tokens from one place to another."""
    pieces = stream.words.spelling.pieces
    return "".join(pieces[token] for token in stream.ids[start : end + 1].tolist()).lstrip(" ")


# --- beside rules -----------------------------------------------------------------------------------------------------


def asked_for(board: Board, found: Sequence[Behaviour], rules: Sequence[FoundRule]) -> Places:
    """How much that is asked for at each place of what can be relied on there, as `ends` is told; `NONE` for nothing.

    `rules` are in the order in which the board knows them.
    """
    stream, said = board.features.stream, board.said
    speaks = said.rule != NONE
    number = {replace(rule, table=NONE): at for at, rule in enumerate(rules)}  # behaviours part the lines of tables
    spoken = np.bincount(said.rule[speaks], minlength=len(rules))
    right = np.bincount(said.rule[speaks & (said.token == stream.own)], minlength=len(rules))
    relied = np.zeros(len(rules) + 1, dtype=bool)  # the last stands for no rule
    for block in (block for behaviour in found for block in behaviour.blocks):
        own = [number[replace(rule, table=NONE)] for rule in block.rules]
        often = spoken[own].sum()
        relied[own] = often >= HEARD * len(stream) and right[own].sum() >= MOSTLY * often
    by_rule = np.where(speaks, np.where(relied[said.rule], _MOST, said.rank), NONE)
    return np.where(stream.closed, by_rule, np.where(silent(board), NONE, _MOST))


def silent(board: Board) -> Flags:
    """Where no rule speaks. Within a word that a rule said, it is gone on with."""
    stream, said = board.features.stream, board.said
    before = np.maximum(stream.unit - 1, 0)
    going_on = (said.word[before] >= 0) & (said.word[before] == stream.following[before])
    found: Flags = np.where(stream.closed, said.rule == NONE, ~going_on)
    return found


def without(board: Board, rules: Sequence[FoundRule], found: Ends) -> list[FoundRule]:
    """The rules without those that say but one token at places where the lines say as much that is right."""
    said, own = board.said, board.features.stream.own
    speaks = said.rule != NONE
    mine = np.bincount(said.rule[speaks & (said.token == own)], minlength=len(rules))
    lines = np.bincount(said.rule[speaks & (found.said == own)], minlength=len(rules))
    return [
        rule
        for number, rule in enumerate(rules)
        if not _one_token(board, rule) or lines[number] < mine[number] or not mine[number]
    ]


def _one_token(board: Board, rule: FoundRule) -> bool:
    """Whether a rule says one and the same token wherever the text ends in its pattern."""
    plain = rule.variable is None and not rule.guards
    return plain and (rule.label < 0 or bool(board.lengths[rule.label] == 1))


def write_ends(written: AccountFiles, found: Ends, names: FreeNames) -> None:
    """Add the account and its tables to what is written, as the last one."""
    if not len(found):
        return
    tables = {kind: lines for kind, lines in (("comes", found.comes), ("goes_on", found.goes_on)) if lines}
    named = {kind: names.free([kind, "behind"], "ends") for kind in tables}
    body = list[str]()
    for answer, texts in sorted(found.marks.items()):
        patterns = ",\n".join(f"        {quoted(escaped(text))}" for text in texts)
        body += [f"    if text.ends(\n{patterns},\n    ):", f"        return joined({quoted(answer)})"]
    for kind, name in named.items():
        asked = f"text.tail({name.upper()})"
        answer = f"{name.upper()}[{asked}]"
        body += [f"    if {asked} in {name.upper()}:"]
        body += [f"        return {answer if kind == 'comes' else f'joined({answer})'}"]
    imported = ["account", *(["joined"] if "goes_on" in tables or found.marks else [])]
    head = [f'"""What always comes behind the last words: {len(found)} ends, too rare for rules of their own."""', ""]
    head += [f"from .language import {', '.join(imported)}"]
    head += [f"from .tables import {', '.join(name.upper() for name in named.values())}"] if named else []
    held = {name: tables[kind] for kind, name in named.items()}
    written.add_last(names.free([TITLE], TITLE), head, body, held)

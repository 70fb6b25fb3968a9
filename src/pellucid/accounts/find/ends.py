"""Rare ends of texts behind which one thing always comes: lines of tables from the last words to that.

Each of them is too rare to tell whether it can be relied on. Pooled, as the lines of a table that one rule looks up,
they can be judged. They count where no rule speaks that asks for more, and none that can be relied on by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int

from pellucid.accounts.find.choose import Board, Rule, rank_of
from pellucid.accounts.find.patterns import highest
from pellucid.accounts.find.program import MOSTLY, Behaviour
from pellucid.accounts.find.spelling import Names, is_cell
from pellucid.accounts.find.stream import NONE, Flags, Places, Stream
from pellucid.accounts.find.write import Written
from pellucid.accounts.language import COLUMNS

LONGEST = 3
"""Words of an end, at most."""
SURE = 0.98
"""How often one thing comes behind an end where it as good as always does."""
HEARD = 0.001
"""The share of places at which a rule speaks that check text is long enough for to tell whether it is reliable."""
FRAME = 9
"""Symbols of the rule that looks ends up."""
TITLE = "always_behind"
_BITS = 21
_MOST = np.iinfo(np.int64).max

Kind = tuple[int, bool]
"""Of a table: the words of its ends, and whether its answers are set behind them without a blank."""


@dataclass(frozen=True)
class Ends:
    """Lines from ends to what comes next, by kind of table; and what they say at every place, `NONE` for nothing."""

    said: Places
    lines: dict[Kind, dict[str, str]] = field(default_factory=dict)


def ends(stream: Stream, asks: Places, price: float) -> Ends:
    """The ends that are worth a line on a text: `price` places for each of its symbols.

    `asks` is how much that rule asks for which speaks at a place: nothing is looked up where it asks for more words.
    """
    found = Ends(np.full(len(stream), NONE))
    spaced = np.array([not text.strip(" ") for text in stream.words.texts] or [True])
    tail = [stream.places]
    valid = ~stream.ends & ~stream.last & ~spaced[stream.word]
    for count in range(1, LONGEST + 1):
        if count > 1:
            tail.append(stream.back(tail[-1]))
            valid = valid & (tail[-1] >= 0) & ~spaced[stream.at(tail[-1])]
        open_there = valid & (asks <= rank_of(0, count, count)) & (found.said == NONE)
        _add(found, stream, tail, valid, open_there, price)
    return found


def _add(found: Ends, stream: Stream, tail: Sequence[Places], valid: Flags, open_there: Flags, price: float) -> None:
    """Add the tables of ends of `len(tail)` words that pay where they are `open_there`."""
    count, own = len(tail), stream.own
    places = np.flatnonzero(valid)
    if not len(places):
        return
    columns = np.stack([stream.word[end[places]] for end in tail])
    group = _grouped(columns)
    answer, sure, gain = _answers(group, own[places], open_there[places])
    worth = sure & (gain > price * (count + 1))
    at = np.flatnonzero(worth[group])
    begins = stream.unit[tail[-1][places[at]]]
    texts = [_text(stream, start, end) for start, end in zip(begins.tolist(), places[at].tolist(), strict=True)]
    if not texts:
        return
    keys, one, key = np.unique(np.array(texts), return_index=True, return_inverse=True)
    answer, sure, gain = _answers(key, own[places[at]], open_there[places[at]])
    cost = (places[at] - begins)[one] + 2
    for joined in (False, True):
        cells = [_cell(stream, int(token), joined) for token in answer]
        fit = [cell is not None and is_cell(str(text)) for cell, text in zip(cells, keys, strict=True)]
        chosen = sure & np.array(fit) & (gain > price * cost)
        if (gain - price * cost)[chosen].sum() > price * FRAME:
            found.lines[count, joined] = {str(keys[n]): str(cells[n]) for n in np.flatnonzero(chosen)}
            told = chosen[key]
            found.said[places[at[told]]] = answer[key[told]]


def _grouped(columns: Int[np.ndarray, "word place"]) -> Int[np.ndarray, " place"]:
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
    pairs, seen = np.unique(group * (1 << _BITS) + own, return_counts=True)
    of, said = pairs >> _BITS, pairs & ((1 << _BITS) - 1)
    best = highest(of, (seen << _BITS) - said)
    total, answer = np.bincount(of, seen), said[best]
    gain = np.bincount(group, counted & (answer[group] == own), minlength=len(total)).astype(np.int64)
    return answer, seen[best] >= SURE * total, gain


def _text(stream: Stream, start: int, end: int) -> str:
    """The text of the tokens from one place to another."""
    pieces = stream.words.spelling.pieces
    return "".join(pieces[token] for token in stream.ids[start : end + 1].tolist()).lstrip(" ")


def _cell(stream: Stream, token: int, joined: bool) -> str | None:
    """A token as the answer of a table, set behind the text as it is or with a blank; None where neither says it."""
    spelling = stream.words.spelling
    piece = spelling.pieces[token]
    apart = spelling.spaced and piece[:1] == " " and piece[1:2].isalnum()
    if joined == (apart or not spelling.spaced):
        return None
    text = piece[1:] if apart else piece
    try:
        says = is_cell(text) and spelling.encode(piece)[:1] == [token]
    except Exception:
        return None
    return text if says else None


# --- beside rules -----------------------------------------------------------------------------------------------------


def asked_for(board: Board, found: Sequence[Behaviour], rules: Sequence[Rule]) -> Places:
    """How much that is asked for at each place of what can be relied on there, as `ends` is told; `NONE` for nothing.

    `rules` are in the order in which the board knows them. Within a word that a rule said, it is gone on with.
    """
    stream, said = board.features.stream, board.said
    speaks = said.rule != NONE
    number = {replace(rule, table=NONE): at for at, rule in enumerate(rules)}  # behaviours part the lines of tables
    spoken = np.bincount(said.rule[speaks], minlength=len(rules))
    right = np.bincount(said.rule[speaks & (said.token == stream.own)], minlength=len(rules))
    relied = np.zeros(len(rules), dtype=bool)
    for block in (block for behaviour in found for block in behaviour.blocks):
        own = [number[replace(rule, table=NONE)] for rule in block.rules]
        often = spoken[own].sum()
        relied[own] = often >= HEARD * len(stream) and right[own].sum() >= MOSTLY * often
    by_rule = np.where(speaks, np.where(relied[said.rule], _MOST, said.rank), NONE)
    before = np.maximum(stream.unit - 1, 0)
    going_on = (said.word[before] >= 0) & (said.word[before] == stream.following[before])
    return np.where(stream.closed, by_rule, np.where(going_on, _MOST, NONE))


def without(board: Board, rules: Sequence[Rule], found: Ends) -> list[Rule]:
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


def _one_token(board: Board, rule: Rule) -> bool:
    """Whether a rule says one and the same token wherever the text ends in its pattern."""
    plain = rule.variable is None and not rule.guards
    return plain and (rule.label < 0 or bool(board.lengths[rule.label] == 1))


def write_ends(written: Written, found: Ends, names: Names) -> None:
    """Add the account and its tables to what is written, as the last one."""
    if not found.lines:
        return
    kinds = sorted(found.lines, key=lambda kind: (-kind[0], kind[1]))
    named = {kind: names.free(["goes_on" if kind[1] else "comes", "behind", str(kind[0])], "ends") for kind in kinds}
    body = []
    for count, joined in kinds:
        asked, name = f"text.tail({count if count > 1 else ''})", named[count, joined].upper()
        answer = f"{name}[{asked}]"
        body += [f"    if {asked} in {name}:", f"        return {f'joined({answer})' if joined else answer}"]
    number = sum(map(len, found.lines.values()))
    imported = ["account", *(["joined"] if any(joined for _, joined in kinds) else [])]
    tables = ",\n".join(f"    {named[kind].upper()}" for kind in kinds)
    before = max(written.accounts, default="0_").partition("_")[0]
    title = f"{int(before) + 1:0{len(before)}d}_{names.free([TITLE], TITLE)}.py"
    written.accounts[title] = "\n".join(
        [
            f'"""What always comes behind the last words: {number} ends, each too rare for a rule of its own."""',
            "",
            f"from .language import {', '.join(imported)}",
            f"from .tables import (\n{tables},\n)",
            "",
            "",
            "@account",
            "def next_token(text):",
            *body,
            "",
        ]
    )
    for kind in kinds:
        rows = ([key, said] for key, said in sorted(found.lines[kind].items()))
        written.tables[f"{named[kind]}.tsv"] = [COLUMNS, *rows]

"""What is left of words that have begun: a table from beginnings to how the model goes on with them.

Rules are found where another word begins next. Where a word may go on, and no rule speaks, what the model says behind
the letters that stand there is looked up, in two tables: what it as good as always says, and what it says most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pellucid.accounts.find.patterns import commonest
from pellucid.accounts.find.spelling import FreeNames, is_cell
from pellucid.accounts.find.stream import Flags, FlatRows
from pellucid.accounts.find.write import AccountFiles

SURE = 0.98
"""How often a beginning is gone on with in one way where it as good as always is."""
FRAME = 9
"""Symbols of the rule that looks a beginning up."""
TITLE = "rest_of_words"


@dataclass(frozen=True)
class Rests:
    """Beginnings of words, and the letters of the token that the model goes on with."""

    sure: dict[str, str]
    likely: dict[str, str]


def rests(stream: FlatRows, silent: Flags, price: float) -> Rests:
    """The beginnings that are worth a line on a text: `price` places for each of its symbols.

    `silent` tells where nothing is said.
    """
    words, pieces = stream.words, stream.words.spelling.pieces
    may_go_on = np.array([text[-1:].isalnum() for text in words.texts] or [False])
    goes_on = np.array([piece[:1].isalnum() for piece in pieces])
    places = np.flatnonzero(may_go_on[stream.word] & ~stream.ends & ~stream.last & silent)
    if not words.spelling.grows or not len(places):
        return Rests({}, {})
    keys, of = np.unique(stream.word[places], return_inverse=True)
    total, answer, most = commonest(of, stream.own[places])
    cost = np.array([max(1, len(words.said(int(key)))) + 1 for key in keys])
    plain = [is_cell(words.texts[key]) and is_cell(pieces[said]) for key, said in zip(keys, answer, strict=True)]
    worth = goes_on[answer] & np.array(plain) & (most > price * cost)
    tables = list[dict[str, str]]()
    for chosen in (worth & (most >= SURE * total), worth & (most < SURE * total)):
        lines = zip(keys[chosen].tolist(), answer[chosen].tolist(), strict=True)
        pays = (most - price * cost)[chosen].sum() > price * FRAME
        tables.append({words.texts[key]: pieces[said] for key, said in lines} if pays else {})
    return Rests(*tables)


def write_rests(written: AccountFiles, found: Rests, names: FreeNames) -> None:
    """Add the account and its tables to what is written, as the last one: it speaks where no other does."""
    named = (("goes_on", found.sure), ("mostly_goes_on", found.likely))
    tables = {names.free([name], name): lines for name, lines in named if lines}
    if not tables:
        return
    count = sum(map(len, tables.values()))
    body = [f"    if text.begun() in {n.upper()}:\n        return joined({n.upper()}[text.begun()])" for n in tables]
    head = [f'"""How words that have begun go on: {count} beginnings."""', "", "from .language import account, joined"]
    head += [f"from .tables import {', '.join(name.upper() for name in tables)}"]
    written.add_last(names.free([TITLE], TITLE), head, body, tables)

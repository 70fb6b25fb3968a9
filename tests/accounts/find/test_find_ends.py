"""Ends of texts that are too rare for a rule: which are worth a line, and the account that looks them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora_support import accounts_of
from pellucid.accounts.find.choose import rank_of
from pellucid.accounts.find.ends import Ends, ends, write_ends
from pellucid.accounts.find.spelling import FreeNames
from pellucid.accounts.find.stream import NONE, FlatRows, Words
from pellucid.accounts.find.write import AccountFiles
from pellucid.accounts.language import Accounts, Spelling

PIECES = ["<end>", " of", " the", " sea", " pump", "kin", ",", " in", " a", " ", "\n"]
NUMBER = {piece: number for number, piece in enumerate(PIECES)}


def encode(text: str) -> list[int]:
    ids = []
    while text:
        piece = next(piece for piece in sorted(PIECES, key=len, reverse=True) if text.startswith(piece))
        ids.append(NUMBER[piece])
        text = text[len(piece) :]
    return ids


SPELLING = Spelling(PIECES, encode, frozenset({0}))


def stream(*rows: tuple[str, str, int]) -> FlatRows:
    """Rows of texts, each so often, behind whose last token something is said; behind the others, many things."""
    ids, own = list[list[int]](), list[list[int]]()
    for text, said, often in rows:
        tokens = encode(text)
        for _ in range(often):
            ids.append([*tokens, NUMBER["<end>"]])
            own.append([*((len(own) + at) % 3 for at in range(len(tokens) - 1)), NUMBER[said], 0])
    return FlatRows.of(np.array(ids), np.array(own), Words(SPELLING))


SEA = [(" of the", " sea", 40), (" in the", " pump", 40)]


def found_in(text: FlatRows, price: float = 1.0, asks: int = NONE, tune: FlatRows | None = None) -> Ends:
    return ends(text, tune or text, np.full(len(text), asks), price)


def test_the_shortest_end_that_tells_is_a_line() -> None:
    found = found_in(stream(*SEA))
    assert (found.comes, found.goes_on, found.marks) == ({"of the": "sea", "in the": "pump"}, {}, {})
    assert [found.said[at] for at in (1, 0, 40 * 3 + 1)] == [NUMBER[" sea"], NONE, NUMBER[" pump"]]


def test_what_goes_on_without_a_blank_is_a_table_of_its_own() -> None:
    rows = [(" a pump", "kin", 40), (" of pump", "kin", 40), (" the sea", ",", 40), (" a sea", " of", 40)]
    found = found_in(stream(*rows))
    assert (found.comes, found.goes_on) == ({"a sea": "of"}, {"pump": "kin", "the sea": ","})


def test_ends_that_no_cell_can_hold_are_patterns_by_what_comes_behind_them() -> None:
    found = found_in(stream((" sea\n", " the", 40), (",\n", " the", 40), (" pump,", "\n", 40)))
    assert (found.comes, found.marks) == ({}, {" the": ["\n"], "\n": ["pump,"]})


def test_an_end_that_mostly_tells_is_none() -> None:
    assert len(found_in(stream((" of the", " sea", 37), (" of the", " pump", 3)))) == 0


def test_a_line_that_is_wrong_on_tune_text_is_left_out() -> None:
    tune = stream((" of the", " sea", 1), (" in the", " pump", 9), (" in the", " sea", 1))
    found = found_in(stream(*SEA), tune=tune)
    assert found.comes == {"of the": "sea"}
    assert found.said[40 * 3 + 1] == NONE


def test_lines_pay_for_their_symbols_and_tables_for_their_rule() -> None:
    text = stream(*SEA)
    assert len(found_in(text, 13.4)) == 0  # a line of three symbols has 40 places
    assert len(found_in(text, 6.0)) == 0  # 2 × (40 - 18) places do not pay for nine symbols
    assert len(found_in(text, 5.0)) == 2


@pytest.mark.parametrize(("asked", "found"), [(rank_of(0, 2, 2), 2), (rank_of(0, 3, 1), 0), (rank_of(1, 1, 1), 0)])
def test_where_a_rule_asks_for_more_nothing_is_looked_up(asked: int, found: int) -> None:
    assert len(found_in(stream(*SEA), asks=asked)) == found


def test_behind_a_blank_is_no_end() -> None:
    assert len(found_in(stream((" of ", " sea", 40)), 0.1)) == 0


def written(tmp_path: Path, found: Ends) -> Accounts:
    made = AccountFiles(accounts={"09_last.py": ""})
    write_ends(made, found, FreeNames())
    assert list(made.accounts) == ["09_last.py", "10_always_behind.py"]
    del made.accounts["09_last.py"]
    return accounts_of(made, tmp_path, SPELLING)


def test_the_written_account_says_what_the_lines_say(tmp_path: Path) -> None:
    rows = [(" a pump", "kin", 40), (" of pump", "kin", 40), (" of,", "\n", 40)]
    accounts = written(tmp_path, found_in(stream(*rows, *SEA)))
    said = [one and PIECES[one.token] for one in accounts.said(encode(" in the pump of the,"))]
    assert said == [None, " pump", "kin", None, " sea", "\n"]


def test_the_longer_end_counts_over_a_shorter_rule(tmp_path: Path) -> None:
    accounts = written(tmp_path, found_in(stream(*SEA)))
    head = "from .language import account\n\n\n@account\ndef next_token(text):\n"
    for end, said in ((" the", " sea"), (" a of the", " of")):
        (tmp_path / "99_rule.py").write_text(f"{head}    if text.ends({end!r}):\n        return 'of'\n")
        answers = Accounts(accounts.folder, SPELLING).said(encode(" a of the"))
        assert answers[-1]
        assert PIECES[answers[-1].token] == said


def test_nothing_is_written_where_nothing_was_found() -> None:
    write_ends(made := AccountFiles(), found_in(stream(*SEA), asks=rank_of(9, 9, 9)), FreeNames())
    assert made == AccountFiles()

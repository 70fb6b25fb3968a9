"""Ends of texts that are too rare for a rule: which are worth a line, and the account that looks them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pellucid.accounts.find.choose import rank_of
from pellucid.accounts.find.ends import Ends, ends, write_ends
from pellucid.accounts.find.spelling import Names
from pellucid.accounts.find.stream import NONE, Stream, Words
from pellucid.accounts.find.write import Written
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


def stream(*rows: tuple[str, str, int]) -> Stream:
    """Rows of texts, each so often, behind whose last token something is said; behind the others, many things."""
    ids, own = list[list[int]](), list[list[int]]()
    for text, said, often in rows:
        tokens = encode(text)
        for _ in range(often):
            ids.append([*tokens, NUMBER["<end>"]])
            own.append([*((len(own) + at) % 3 for at in range(len(tokens) - 1)), NUMBER[said], 0])
    return Stream.of(np.array(ids), np.array(own), Words(SPELLING))


def nothing(text: Stream) -> np.ndarray:
    return np.full(len(text), NONE)


SEA = [(" of the", " sea", 40), (" in the", " pump", 40)]


def test_the_shortest_end_that_tells_is_a_line() -> None:
    text = stream(*SEA)
    found = ends(text, nothing(text), 1.0)
    assert found.lines == {(2, False): {"of the": "sea", "in the": "pump"}}
    assert [found.said[at] for at in (1, 0, 40 * 3 + 1)] == [NUMBER[" sea"], NONE, NUMBER[" pump"]]


def test_what_goes_on_without_a_blank_is_a_table_of_its_own() -> None:
    text = stream((" a pump", "kin", 40), (" of pump", "kin", 40), (" the sea", ",", 40), (" a sea", " of", 40))
    assert ends(text, nothing(text), 1.0).lines == {
        (1, True): {"pump": "kin"},
        (2, False): {"a sea": "of"},
        (2, True): {"the sea": ","},
    }


def test_an_end_that_mostly_tells_is_none() -> None:
    text = stream((" of the", " sea", 37), (" of the", " pump", 3))
    assert ends(text, nothing(text), 1.0).lines == {}


def test_lines_pay_for_their_symbols_and_tables_for_their_rule() -> None:
    text = stream(*SEA)
    assert ends(text, nothing(text), 13.4).lines == {}  # a line of three symbols has 40 places
    assert ends(text, nothing(text), 6.0).lines == {}  # 2 × (40 - 18) places do not pay for nine symbols
    assert len(ends(text, nothing(text), 5.0).lines) == 1


@pytest.mark.parametrize(("asked", "found"), [(rank_of(0, 2, 2), 1), (rank_of(0, 3, 1), 0), (rank_of(1, 1, 1), 0)])
def test_where_a_rule_asks_for_more_nothing_is_looked_up(asked: int, found: int) -> None:
    text = stream(*SEA)
    assert len(ends(text, np.full(len(text), asked), 1.0).lines) == found


def test_behind_a_blank_and_before_the_beginning_is_no_end() -> None:
    text = stream((" of ", " sea", 40), (" the\n", " pump", 40))
    assert ends(text, nothing(text), 0.1).lines == {}


def written(tmp_path: Path, found: Ends) -> Accounts:
    made = Written(accounts={"09_last.py": ""})
    write_ends(made, found, Names())
    assert list(made.accounts) == ["09_last.py", "10_always_behind.py"]
    del made.accounts["09_last.py"]
    (tmp_path / "tables").mkdir()
    for name, text in made.accounts.items():
        (tmp_path / name).write_text(text)
    for name, rows in made.tables.items():
        (tmp_path / "tables" / name).write_text("".join("\t".join(row) + "\n" for row in rows))
    return Accounts(tmp_path, SPELLING)


def test_the_written_account_says_what_the_lines_say(tmp_path: Path) -> None:
    text = stream((" a pump", "kin", 40), (" of pump", "kin", 40), *SEA)
    accounts = written(tmp_path, ends(text, nothing(text), 1.0))
    said = [one and PIECES[one.token] for one in accounts.said(encode(" in the pump of the"))]
    assert said == [None, " pump", "kin", None, " sea"]


def test_the_longer_end_counts_over_a_shorter_rule(tmp_path: Path) -> None:
    accounts = written(tmp_path, ends(text := stream(*SEA), nothing(text), 1.0))
    head = "from .language import account\n\n\n@account\ndef next_token(text):\n"
    for end, said in ((" the", " sea"), (" a of the", " of")):
        (tmp_path / "99_rule.py").write_text(f"{head}    if text.ends({end!r}):\n        return 'of'\n")
        answers = Accounts(accounts.folder, SPELLING).said(encode(" a of the"))
        assert answers[-1]
        assert PIECES[answers[-1].token] == said


def test_nothing_is_written_where_nothing_was_found() -> None:
    write_ends(made := Written(), ends(stream(*SEA), np.full(240, rank_of(9, 9, 9)), 1.0), Names())
    assert made == Written()

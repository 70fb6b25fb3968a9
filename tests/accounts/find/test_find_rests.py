"""How words that have begun go on: which beginnings are worth a line, and the account that looks them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from corpora_support import accounts_of
from pellucid.accounts.find.rests import Rests, rests, write_rests
from pellucid.accounts.find.spelling import FreeNames
from pellucid.accounts.find.stream import FlatRows, Words
from pellucid.accounts.find.write import AccountFiles
from pellucid.accounts.language import Spelling

PIECES = ["<end>", " pump", "kin", " car", "rot", "pet", ".", " the"]
NUMBER = {piece: number for number, piece in enumerate(PIECES)}


def encode(text: str) -> list[int]:
    ids = []
    while text:
        piece = next(piece for piece in PIECES if text.startswith(piece))
        ids.append(NUMBER[piece])
        text = text[len(piece) :]
    return ids


SPELLING = Spelling(PIECES, encode, frozenset({0}))
TEXT = [" pump", "kin", ".", " car", "rot", ".", " the", "."]
SAYS = ["kin", ".", " car", "rot", ".", " the", ".", " pump"]
OTHER = ["kin", ".", " car", "pet", ".", " the", ".", " pump"]


def stream(often: int, other: int) -> FlatRows:
    """Rows of one text, of which the model says the second half otherwise."""
    rows = np.array([[NUMBER[piece] for piece in TEXT]] * (often + other))
    own = np.array([[NUMBER[piece] for piece in SAYS]] * often + [[NUMBER[piece] for piece in OTHER]] * other)
    return FlatRows.of(rows, own, Words(SPELLING))


def found(price: float, often: int = 30, other: int = 10) -> Rests:
    return rests(text := stream(often, other), silent(text), price)


def silent(text: FlatRows) -> np.ndarray:
    return np.ones(len(text), dtype=bool)


def test_what_always_follows_is_told_from_what_mostly_does() -> None:
    assert found(0.5) == Rests({"pump": "kin"}, {"car": "rot"})


def test_a_line_pays_for_its_symbols_and_a_table_for_its_rule() -> None:
    assert found(18.0) == Rests({}, {})  # two symbols of 18 places are nearly the 40 of the one line, the rule is not
    assert found(2.0).sure == {"pump": "kin"}
    assert found(3.0, often=10, other=10).likely == {}


def test_where_a_rule_speaks_nothing_is_looked_up() -> None:
    text = FlatRows.of(np.array([[NUMBER[" the"]] * 40]), np.array([[NUMBER["kin"]] * 40]), Words(SPELLING))
    assert rests(text, silent(text), 0.1).sure == {"the": "kin"}
    assert rests(text, ~silent(text), 0.1).sure == {}


def test_the_written_account_goes_on_with_a_word(tmp_path: Path) -> None:
    written, names = AccountFiles(accounts={"09_last.py": ""}), FreeNames()
    names.free(["goes_on"], "goes_on")
    write_rests(written, found(0.5), names)
    assert list(written.accounts) == ["09_last.py", "10_rest_of_words.py"]
    del written.accounts["09_last.py"]
    accounts = accounts_of(written, tmp_path, SPELLING)
    said = accounts.said(encode(" the pump"))
    assert [one and one.token for one in said] == [None, NUMBER["kin"]]
    (line,) = said[-1].lines if said[-1] else ()
    assert line == ("goes_on_2.tsv", "pump")


def test_nothing_is_written_where_nothing_was_found() -> None:
    written = AccountFiles()
    write_rests(written, Rests({}, {}), FreeNames())
    assert written == AccountFiles()

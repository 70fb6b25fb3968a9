"""Lines are broken between words, and never inside a quoted token."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from pellucid.listing.wrap import fill, literals, quoted, wrap

QUOTED = st.text(st.characters(codec="utf-8"), max_size=12).map(quoted)
WORD = st.text(st.characters(categories=["L", "N"], codec="utf-8"), min_size=1, max_size=9)


@given(st.lists(st.one_of(QUOTED, WORD, QUOTED.map(lambda token: f"({token},")), max_size=30), st.integers(20, 60))
def test_quoted_tokens_stay_whole(pieces: list[str], width: int) -> None:
    lines = wrap(" ".join(pieces), width, "  ", "    ")
    held = [line.strip() for line in lines]
    assert " ".join(held) == " ".join(pieces)
    for piece in pieces:
        assert any(piece in line for line in held)
    assert all(len(line) <= width or len(line.strip()) <= max(map(len, pieces)) for line in lines)


def test_a_mark_without_a_partner_holds_no_lines_together() -> None:
    lines = wrap('say " ' + "word " * 40, 30)
    assert max(map(len, lines)) <= 85
    assert len(lines) > 3


def test_nothing_is_no_line() -> None:
    assert wrap(" \n ", 20) == []
    assert fill([], 20) == []


@given(st.text(max_size=200), st.integers(30, 80))
def test_literals_hold_the_words(text: str, width: int) -> None:
    said = ast.literal_eval("(\n" + "\n".join(literals(text, width, "    ")) + "\n)")
    assert said.split() == text.split()

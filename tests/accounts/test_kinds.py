"""Kinds of position: what texts end in, in words and slots, put together by hand."""

from __future__ import annotations

from pellucid.accounts.kinds import ends, kinds
from pellucid.accounts.language import AccountText

SLOTS = {"Ada": "{name}", "Tom": "{name}", "Pine Lane": "{place}"}
ROW = AccountText(["Ada", " lives", " in", " P", "ine", ".", " {", "!"], True)


def test_ends_are_words_and_slots_back_to_the_beginning() -> None:
    assert ends(ROW, 0, 2, SLOTS) == (" in", " lives", " {name}")
    assert ends(ROW, 2, 2, SLOTS) == (" in",)
    assert ends(ROW, 0, 5, SLOTS)[:2] == (".", " Pine")


def test_a_word_that_is_begun_is_no_slot_and_braces_are_doubled() -> None:
    assert ends(ROW, 0, 3, SLOTS | {"P": "{letter}"})[0] == " P"
    assert ends(ROW, 0, 4, {"Pine": "{tree}"})[0] == " {tree}"
    assert ends(ROW, 0, 6, SLOTS)[0] == " {{"


def test_behind_the_end_of_a_text_stands_that_token() -> None:
    assert ends(AccountText(["Ada", "<end>"], True), 2, 1, SLOTS) == ("<end>",)


def test_places_are_told_apart_by_longer_ends_where_these_are_often_enough() -> None:
    places = [(" in", " lives")] * 4 + [(" in", " sits")] * 2 + [(" in",)] + [(".", " old")] * 3 + [("!",)]
    assert kinds(places, 3) == [
        (" lives in", [0, 1, 2, 3]),
        (" in", [4, 5, 6]),
        (" old.", [7, 8, 9]),
    ]
    assert kinds(places, 5) == [(" in", [0, 1, 2, 3, 4, 5, 6])]
    assert kinds([], 1) == []

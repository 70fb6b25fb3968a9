"""What finders take a text to be is what the language of accounts takes it to be, place by place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora_support import Language
from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.features import Features, Guard, Vocabulary
from pellucid.accounts.find.spelling import FreeNames, Spelled
from pellucid.accounts.find.stream import NONE, FlatRows, Words
from pellucid.accounts.find.variables import values
from pellucid.accounts.language import AccountText, Slots, Text, spans


@pytest.fixture(scope="module")
def stream() -> FlatRows:
    language = Language()
    return language.stream(60, 3, Words(language.spelling))


def text_at(stream: FlatRows, place: int, slots: Slots | None = None) -> Text:
    """The text at a place, as an account is asked about it."""
    begins = int(stream.begins[place])
    spelling = stream.words.spelling
    pieces = [spelling.pieces[token] for token in stream.ids[begins : place + 1]]
    return Text(AccountText(pieces, spelling.spaced, slots, spelling.grows), 0, len(pieces))


def a_class(stream: FlatRows, *members: str) -> WordClass:
    return WordClass(tuple(stream.words.numbers[member] for member in members), True)


def test_variables_are_what_the_language_says(stream: FlatRows, tmp_path: Path) -> None:
    people = a_class(stream, "Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou")
    (tmp_path / "tables").mkdir()
    members = [stream.words.texts[member] for member in people.members]
    (tmp_path / "tables" / "name.txt").write_text("".join(f"{member}\n" for member in members))
    name = spans("name.txt", tmp_path)
    found = values(stream, [people], ["met", "with"])
    asked = np.flatnonzero(stream.closed & ~stream.ends)[:1200:3]
    for variable, words in found.items():
        says = variable.says.format(name="NAME")
        for place in asked.tolist():
            expected = eval(says, {"NAME": name}, {"text": text_at(stream, place)})
            word = int(words[place])
            said = None if word == NONE else stream.words.texts[word].strip()
            assert said == expected, f"{says} at {str(text_at(stream, place))!r}"


def test_patterns_match_where_the_language_finds_them(stream: FlatRows, tmp_path: Path) -> None:
    towns = a_class(stream, "Rome", "Bath", "Oslo", "Nice", "Cork", "Bonn")
    slots = np.full(len(stream.words) + 1, NONE)
    slots[list(towns.members)] = 0
    features = Features(stream, Vocabulary((towns,)), slots)
    spelled = Spelled.of(stream, [towns], FreeNames())
    (tmp_path / "tables").mkdir()
    members = [stream.words.texts[member] for member in towns.members]
    (tmp_path / "tables" / f"{spelled.names[0]}.txt").write_text("".join(f"{member}\n" for member in members))
    number = stream.words.numbers
    known = Slots(tmp_path)
    for pattern in ((number["lives"], number["in"]), (number["in"], -2), (-2, number["."]), (number["met"],)):
        there = set(features.matching(pattern).tolist())
        assert there
        for place in np.flatnonzero(stream.asked & ~stream.ends)[:800].tolist():
            says = text_at(stream, place, known).ends(spelled.pattern(pattern))
            assert says == (place in there), f"{spelled.pattern(pattern)!r} at {str(text_at(stream, place))!r}"


@pytest.mark.parametrize(
    "guard",
    [
        Guard("long", 9),
        Guard("has", word="gives"),
        Guard("lately", word="met"),
        Guard("lately", 2, "met"),
        Guard("lately", 3, "met"),
        Guard("has", word=".").other(),
    ],
)
def test_conditions_hold_where_the_language_says_so(stream: FlatRows, guard: Guard) -> None:
    features = Features(stream, Vocabulary(()), np.full(len(stream.words) + 1, NONE))
    says = Spelled.of(stream, [], FreeNames()).guard(guard)
    flags = features.flags(guard)
    assert flags.any()
    assert not flags.all()
    for place in np.flatnonzero(stream.asked & ~stream.ends)[:600].tolist():
        assert eval(says, {}, {"text": text_at(stream, place), "len": len}) == flags[place]

"""Patterns with slots, and what a text is asked about its words, sentences and brackets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.accounts.language import (
    AccountError,
    Accounts,
    AccountText,
    ClassSlot,
    Joined,
    Slots,
    Spelling,
    Text,
    one_of,
    parts_of,
    rest,
)

_PIECES = re.compile(r"<end>| ?[A-Za-z]{1,3}|[a-z]{1,3}|\n| ?[^A-Za-z ]| ")
"""Words in pieces of up to three letters, as a model with few tokens has them."""
NAMES = "Ada\nAnn\nAnn Lee\nTom\n"
THINGS = "key\tanswer\nrope\tlong\npine cone\tbrown\n"


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "name.txt").write_text(NAMES)
    (tmp_path / "tables" / "thing.tsv").write_text(THINGS)
    return Slots(tmp_path)


def text_of(text: str, slots: Slots | None = None, until: int | None = None) -> Text:
    pieces = _PIECES.findall(text)
    assert "".join(pieces) == text
    return Text(AccountText(pieces, True, slots), 0, len(pieces) if until is None else until)


def test_a_slot_is_the_name_of_a_class_and_doubled_braces_are_braces() -> None:
    assert parts_of(" the {thing} {{x}} {a}{b}") == [" the ", "thing", " {x} ", "a", "b"]
    assert [type(part) for part in parts_of("{a} b")] == [ClassSlot, str]
    assert parts_of("") == []


@pytest.mark.parametrize("pattern", ["a {", "} b", "{}", "{a", "{{a}", "{{{a}}"])
def test_a_lone_brace_is_refused(pattern: str) -> None:
    with pytest.raises(AccountError, match="stands alone"):
        parts_of(pattern)


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("so Ada met", " {name} met", True),
        ("Ada met", " {name} met", True),  # a text begins with no blank
        ("Ada met", " Ada met", True),
        ("met", " Ada met", False),
        ("Tom gives the pine cone to Ada", " gives the {thing} to {name}", True),
        ("Tom gives the pine cone to Ada", "{name} gives the {thing} to {name}", True),
        ("Tom gives the pine to Ada", " gives the {thing} to {name}", False),
        ("so Ann Lee met", " so {name} met", True),
        ("so Ann Lee met", " Ann {name} met", False),
        ("Ann Lee met", "{name} met", True),
        ("a tAnn met", "{name} met", False),  # a part of a word
        ("so Annabel", " so {name}abel", False),
        ("so Ann", " so {name}", True),
        ("so rope", " so {name}", False),
        ("Ann", " {name}", True),
        ("", " {name}", False),
        ("", " ", False),
        ("Ann's", " {name}'s", True),
        ("a rope.", " {thing}.", True),
        ("so {x", " {{x", True),
        ("so {{x", "{{{{x", True),
    ],
)
def test_a_text_ends_in_a_pattern(slots: Slots, text: str, pattern: str, expected: bool) -> None:
    assert text_of(text, slots).ends(pattern) is expected
    assert text_of(text, slots).ends(" nothing", pattern, " {name} nothing") is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("Ann Lee met Tom", "{name} met {name}", True),
        ("Ann Lee met Tom", " {name} met", True),
        (" Ann Lee met Tom", "{name} met", True),
        (" Ann Lee met Tom", " Ann", True),
        ("Ann Lee met Tom", "Ann {name}", False),
        ("Ann Lee met Tom", "{thing}", False),
        ("the rope of Ada", "the {thing} of", True),
        ("the rope", "the {thing} of", False),
        ("so Ann", " ", False),
    ],
)
def test_a_text_begins_with_a_pattern(slots: Slots, text: str, pattern: str, expected: bool) -> None:
    assert text_of(text, slots).begins(pattern) is expected
    assert text_of(text, slots).begins("nothing", pattern, "{name} nothing") is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("so Ann Lee met Tom. the", " {name} met {name}.", True),
        ("Ann Lee met Tom. the", " {name} met", True),
        ("Tom met the man. Ada met Tom. the", " met {name}", True),
        ("Tom met the man", " met {name}", False),
        ("the rope and Ada", "{thing}", True),
        ("the ropes and Ada", "{thing}", False),
        ("Ada {x} met", "{{x}}", True),
        ("Ada", " Ada", True),
        ("Ada", " {name}", True),
        ("so Ada", " ", True),
        ("Ada", " ", False),
        ("Ada", "", True),
        ("Tom", "{name}{thing}", False),
    ],
)
def test_a_text_has_a_pattern(slots: Slots, text: str, pattern: str, expected: bool) -> None:
    assert text_of(text, slots).has(pattern) is expected


def test_what_stands_behind_a_place_is_not_seen(slots: Slots) -> None:
    whole = text_of("so Ann Lee met Tomas", slots)
    row = whole._row
    assert row.pieces[:3] == ["so", " Ann", " Lee"]
    assert Text(row, 0, 2).ends(" so {name}")
    assert Text(row, 0, 2).has("{name}")
    assert not Text(row, 0, 3).ends(" Ann {name}")
    assert Text(row, 0, 5).ends(" met {name}")  # "as" is still to come
    assert not whole.ends(" met {name}as")
    assert Text(row, 2, 5).ends("Lee met {name}")
    assert not Text(row, 2, 5).begins("{name}")
    assert Text(row, 0, 5).last(one_of("Tom")) == "Tom"
    assert whole.last(one_of("Tom")) is None


def test_a_class_is_a_file_of_lines_or_the_keys_of_a_table(slots: Slots, tmp_path: Path) -> None:
    assert slots.members("name") == {"Ada", "Ann", "Ann Lee", "Tom"}
    assert slots.members("thing") == {"rope", "pine cone"}
    with pytest.raises(AccountError, match=r"\{day\}: tables/ has neither day.txt nor day.tsv"):
        text_of("so", slots).ends("{day}")
    with pytest.raises(AccountError, match=r"\{name\}: tables/ has neither"):
        text_of("so").ends("{name}")
    (tmp_path / "tables" / "twice.txt").write_text("x\nx\n")
    with pytest.raises(AccountError, match=r"twice.txt:2"):
        slots.members("twice")


def test_words_are_what_a_reader_calls_so() -> None:
    text = text_of("Ada's longer rope ( is. ")
    assert [text.word(back) for back in range(1, 10)] == [".", "is", "(", "rope", "longer", "s", "'", "Ada", None]
    assert text_of("so the ropes").word() == "ropes"
    assert Text(AccountText(["so", " ", "ro", "pe", " ", "is"], True), 0, 4).word() == "rope"
    assert Text(AccountText(["so", " ", "ro", "pe", " ", "is"], True), 0, 2).word() == "so"
    assert Text(AccountText(["so", " rope"], True), 1, 1).word() is None
    assert Text(AccountText(["ab", "c", "."], False), 0, 3).word(2) == "c"  # tokens are words
    assert Text(AccountText([" w1", " w2"], True, grows=False), 0, 2).word() == "w2"


def test_a_word_that_has_begun_may_be_gone_on_with() -> None:
    assert text_of("Tom eats soup").begun() == "soup"
    assert text_of("Tom eats ").begun() == ""
    assert text_of("Tom eats.").begun() == ""
    assert Text(AccountText([" w1", " w2"], True, grows=False), 0, 2).begun() == ""
    found = rest("soup", "so")
    assert (found, type(found)) == ("up", Joined)
    assert rest("soup", "soup") is rest("soup", "bread") is rest(None, "so") is None
    assert type(rest("soup", "")) is str


def test_the_word_behind_the_last_place_that_has_one() -> None:
    text = text_of("Tom eats soup. Ada eats bread and Tom eats s")
    assert text.behind("eats") == "bread"  # the last one may go on
    assert text.behind("Tom eats") == "soup"
    assert text.behind(" eats ") == "bread"
    assert text.behind("soup") == "."
    assert text.behind("eat") is text.behind("rom") is text.behind("s") is text.behind(None) is text.behind(" ") is None
    assert text_of("Ada met").behind("met") is None
    assert text_of("Ada met.").behind("met") == "."
    assert Text(AccountText([" w1", " w2"], True, grows=False), 0, 2).behind("w1") == "w2"
    row = text._row
    assert str(Text(row, 0, 3)) == "Tom eats"
    assert Text(row, 0, 3).behind("Tom") is None
    assert str(Text(row, 0, 4)) == "Tom eats sou"
    assert Text(row, 0, 4).behind("Tom") == "eats"
    assert Text(row, 0, 4).behind("eats") is None


def test_the_word_that_followed_the_same_words() -> None:
    text = text_of("Ada met longer Tom. Tom sees Ada")
    assert text.again() == "met"  # the first has no blank before it
    assert text_of("Ada met longer Tom. so Ada met longer").again(2) == "Tom"
    assert text_of("Ada met longer Tom. so Tom met longer").again(3) is None
    assert text_of("so Ada. so Ada is. so").again() == "Ada"
    assert text_of("so so").again() == "so"
    assert text.again(0) is text.again(99) is text_of("so").again() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so (Ada [met", "["),
        ("so (Ada [met]", "("),
        ("so (Ada) met", None),
        ("so (Ada [met)", "["),
        ("so) Ada", None),
        ('"Ada met', '"'),
        ('"Ada" met', None),
        ('"Ada (met"', "("),
        ("Ada's rope", None),
        ("“Ada met ‘Tom’s", "‘"),
        ("“Ada met ‘Tom’s’", "“"),
        ("«{Ada»", "{"),
        ("“Ada”", None),
    ],
)
def test_the_last_that_was_opened_and_not_closed(text: str, expected: str | None) -> None:
    assert text_of(text).opened() == expected


def test_other_and_second_members() -> None:
    names = one_of("Ada", "Ann", "Tom")
    text = text_of("Tom met Tom. Ada saw Ann. Ann met Ann")
    assert (text.second(names), text.other(names)) == ("Ada", "Ada")
    assert text_of("Tom met Tom").second(names) is text_of("Tom met Tom").other(names) is None
    assert text_of("so").second(names) is text_of("so").other(names) is None


def test_sentences_end_in_marks_and_lines() -> None:
    text = text_of("Ada met. so\nTom is? Ann")
    assert [str(part) for part in text.sentences()] == ["Ada met.", " so\n", "Tom is?", " Ann"]
    assert str(text.sentence()) == " Ann"
    assert str(text_of("Ada met.").sentence()) == ""
    assert [str(part) for part in text_of("Ada met.").sentences()] == ["Ada met."]
    assert str(text_of("Ada met").sentence()) == "Ada met"
    assert text_of("Ada met. Tom").sentence().ends(" Tom")
    assert [str(part) for part in Text(AccountText(["so", '."', " 3.5", " is", ".\n"], True), 0, 5).sentences()] == [
        'so."',
        " 3.5 is.\n",
    ]
    later = Text(text._row, 3, 6)
    assert (str(later), str(later.sentence())) == (" so\nTom", "Tom")


ACCOUNT = """
NAME = spans("name.txt")


@account
def next_token(text):
    if text.ends(" {name} met", " saw") or text.ends(" has") and not text.opened():
        return text.first(NAME) if text.word(2) in NAME and text.word(9) not in NAME else "rope"
"""


@pytest.mark.usefixtures("slots")
def test_rules_with_slots_begin_anew_in_every_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(ACCOUNT)
    pieces = ["<end>", "Ada", " Ada", " Tom", " met", " saw", " has", " (", " ro", "pe"]

    def encode(text: str) -> list[int]:
        return [pieces.index(piece) for piece in re.findall(r"<end>|^Ada| \(| ro|pe| \w+", text)]

    accounts = Accounts(tmp_path, Spelling(pieces, encode, frozenset({0})))
    assert accounts.spelling.grows
    ids = encode("Ada met<end> met<end> Tom ( has Ada met<end> Tom has ( met saw")
    said = [found and (str(found.answer), pieces[found.token]) for found in accounts.said(ids)]
    ada, tom, rope = ("Ada", " Ada"), ("Tom", " Tom"), ("rope", " ro")
    assert said == [None, ada, None, None, None, None, None, None, None, tom, None, None, tom, None, None, rope]
    again = [found and (str(found.answer), pieces[found.token]) for found in accounts.said(encode(" Tom met ( has"))]
    assert again == [None, tom, None, None]

"""What an account may contain, said with file and line before anything runs."""

from __future__ import annotations

import ast
import re

import pytest

from accounts_by_hand import ACCOUNT
from checkpoints import random_model
from pellucid.accounts.check import addresses_of, check
from pellucid.base.errors import SourceError
from pellucid.exact.model import Model

TABLED = 'NEXT = table("next.tsv")'


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model()[0]


def test_an_account_by_hand_is_in_the_language(model: Model) -> None:
    check(ast.parse(ACCOUNT), "next.py", model)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("from .language import account,", "import os\nfrom .language import account,", "3: .*only .language"),
        ("one_of, table", "one_of, open, table", "3: .*language.py has no open"),
        (
            TABLED,
            "from .tables import NONE",
            "5: .*there is no NONE to import: tables/ has neither none.txt nor",
        ),
        (TABLED, "from .tables import next", "5: .*`next`: tables are imported by the name of their file, in capitals"),
        (TABLED, "from .tables import NEXT as OTHER", "5: .*`NEXT as OTHER`: tables are imported by the name"),
        (TABLED, "from .tables import NEXT, NEXT", "5: .*NEXT is known already"),
        ('text.ends(" w1")', 'text.ends.__globals__["w1"]', r"19: .*\.__globals__ alone is not used"),
        (
            'text.ends(" w1")',
            'text.upper(" w1")',
            r"19: .*\.upper\(…\) is nothing that a text is asked; it knows after,",
        ),
        ('text.ends(" w1")', 'text._row(" w1")', r"19: .*\._row\(…\) is nothing"),
        ('text.ends(" w1")', 'open("w1")', "19: .*open is not known here"),
        ('text.ends(" w1")', '(lambda: text)(" w1")', "19: .*is not a name to call"),
        ('text.ends(" w1")', 'f"{text}"', "19: .*JoinedStr is not used in accounts"),
        ('text.ends(" w1")', "len(text) == 2j", "19: .*2j is no number"),
        ("        return None\n", "        while text:\n            pass\n", "18: .*While is not used"),
        ("        return None\n", "        text.x = 1\n", "18: .*text.x is not a name to assign to"),
        ("        return None\n", "        len = 1\n", "16: .*len has a meaning already"),
        ("def next_token(text):", "def next_token(text, more=1):", "16: .*arguments are plain names"),
        ("def next_token(text):", "def said(text):", r"16: .*the function under @account is next_token\(text\)"),
        ("@account\n", "", r"1: .*expected one function next_token\(text\) under @account"),
        ("L00.H01 @ here", "L07.H01 @ here", "9: .*tie: 'L07.H01' names nothing"),
        ("moved=0.75", "moved=7.5", r"9: .*`moved=7.5`: expected tie="),
        ('tie="L00.H01 @ here"', "tie=LATE", "9: .*`tie=LATE`: expected tie="),
        ("LATE = one_of", "NEXT = one_of", "6: .*NEXT is known already"),
        ("LATE = one_of", "print(1)\nLATE = one_of", r"6: .*`print\(1\)` does not belong at the top"),
    ],
)
def test_what_is_not_in_the_language_is_refused_by_its_line(model: Model, old: str, new: str, reason: str) -> None:
    assert old in ACCOUNT
    with pytest.raises(SourceError, match=f"^next.py:{reason}"):
        check(ast.parse(ACCOUNT.replace(old, new)), "next.py", model, ["next.tsv"])


def test_a_table_may_be_imported(model: Model) -> None:
    check(ast.parse(ACCOUNT.replace(TABLED, "from .tables import NEXT")), "next.py", model, ["next.tsv"])


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ('text.ends(" w1", " {day} w1")', r"{day}: tables/ has neither day.txt nor day.tsv"),
        ('text.begins("{next} {day}")', r"{day}: tables/"),
        ('text.has("a {")', r"'a {': { stands alone; a slot is {name}, a brace itself is doubled"),
    ],
)
def test_a_slot_that_names_no_file_is_refused_by_its_line(model: Model, asked: str, reason: str) -> None:
    tree = ast.parse(ACCOUNT.replace('text.ends(" w1")', asked))
    with pytest.raises(SourceError, match=f"^next.py:19: .*{re.escape(reason)}"):
        check(tree, "next.py", model, ["next.tsv"])


@pytest.mark.parametrize(
    "asked",
    [
        'text.ends(" {next} w1", " {late}") or text.has("{{") and not text.opened()',
        "text.word() in LATE and text.word(2) not in NEXT",
        'text.behind("w1") == text.again(2) if text.sentence() else text.other(LATE) == text.second(NEXT)',
        "len(text.sentences()) > 1 and text.begun()",
        'text.count("{") and text.open("{", "}")',
    ],
)
def test_what_texts_are_asked_is_in_the_language(model: Model, asked: str) -> None:
    check(ast.parse(ACCOUNT.replace('text.ends(" w1")', asked)), "next.py", model, ["next.tsv", "late.txt"])


def test_an_expression_of_too_many_levels_is_refused(model: Model) -> None:
    deep = ACCOUNT.replace("-1 + 3", " + ".join(["1"] * 1500))
    with pytest.raises(SourceError, match=r"next.py:1: .*nested too deeply"):
        check(ast.parse(deep), "next.py", model)


def test_a_tie_names_several_addresses() -> None:
    assert addresses_of("L02.H00, L02.H01 @ here") == ["L02.H00", "L02.H01"]

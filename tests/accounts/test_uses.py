"""What accounts say of themselves is read off their text: variables, rules, and the tables that these hang on."""

from __future__ import annotations

import ast

from accounts_by_hand import ACCOUNT
from pellucid.accounts.follows import follows, rules_of
from pellucid.accounts.language import Table
from pellucid.accounts.lines import Differs
from pellucid.accounts.uses import AccountPage

WINDING = '''"""About homes and sides."""

from .language import account, spans, table, variable

HOME = table("home.tsv")
SIDE = table("side.tsv")
PEOPLE = spans("people.txt")


@variable(tie="L00.H01 @ here")
def who(text):
    """The last person."""
    return text.last(PEOPLE)


@variable()
def subject(text):
    return who(text)


def place(person):
    return HOME[person]


@account
def next_token(text):
    someone = subject(text)
    if text.ends(" comes from the"):
        where = place(someone)
        return SIDE[where]
    if text.has("{pet}"):
        for one in text.all(PEOPLE):
            return one
    return None
'''


def page(text: str) -> AccountPage:
    return AccountPage("winding.py", ast.parse(text), text)


def test_variables_are_read_with_their_ties() -> None:
    (told,) = page(ACCOUNT).variables.values()
    assert (told.name, told.tie, told.moved, told.says) == (
        "said_last",
        "L00.H01 @ here",
        0.75,
        "The last of the keys.",
    )
    assert {name: told.moved for name, told in page(WINDING).variables.items()} == {"who": None, "subject": None}


def test_rules_hang_on_what_they_reach() -> None:
    found = page(WINDING)
    (first, reached), (second, other) = found.rules
    assert (str(first), first.text) == ("winding.py:30", "return SIDE[where]")
    assert {"SIDE", "HOME", "who", "subject", "PEOPLE"} <= reached
    assert found.uses(reached, "home.tsv")
    assert found.uses(reached, "people.txt")
    assert not found.uses(other, "home.tsv")
    assert found.uses(other, "pet.tsv")  # by a slot in a pattern
    assert str(second) == "winding.py:33"


def test_a_table_is_keyed_by_variables_through_other_names() -> None:
    assert page(WINDING).keyed_by("side.tsv") == ["who", "subject"]
    assert page(ACCOUNT).keyed_by("next.tsv") == ["said_last"]
    assert page(ACCOUNT).keyed_by("other.tsv") == []


def test_imported_tables_are_known_by_their_files() -> None:
    text = WINDING.replace('HOME = table("home.tsv")', "from .tables import HOME, PEOPLE")
    text = text.replace('PEOPLE = spans("people.txt")\n', "")
    found = AccountPage("winding.py", ast.parse(text), text, frozenset({"home.tsv", "side.tsv", "people.txt"}))
    assert found.files == {"HOME": "home.tsv", "PEOPLE": "people.txt", "SIDE": "side.tsv"}
    assert found.uses(found.rules[0][1], "home.tsv")


# --- what follows -----------------------------------------------------------------------------------------------------


def table(name: str, **lines: str) -> Table:
    return Table(name, {key: (key, answer) for key, answer in lines.items()})


HOME = table("home.tsv", Ada="Oak", Bea="Ash", Cid="Ash", Dan="Elm", Eve="Elm", Fay="Elm", Gus="Ash", Hal="Elm")
SIDE = table("side.tsv", Ada="north", Bea="south", Cid="south", Dan="north", Eve="north", Fay="north", Gus="south")
PET = table("pet.tsv", Ada="cat", Bea="dog", Cid="cat", Dan="cat", Eve="dog", Fay="dog", Gus="owl", Hal="owl")
OWNER = table("owner.tsv", Elm="Uli", Ash="Vic")
WIFE = table("wife.tsv", Bob="Ada", Carl="Bea")
LINE = Differs("home.tsv", "Ada", 2, "Elm", "Oak")


def told(*others: Table, line: Differs = LINE, changed: Table = HOME) -> list[str]:
    return [str(found) for found in follows({held.name: held for held in (changed, *others)}, [], [line])]


def test_tables_that_a_changed_fact_touches_are_told() -> None:
    assert told(PET, SIDE, OWNER, WIFE) == [
        "side.tsv  follows from home.tsv in 100% of its lines: 'Ada'",
        "pet.tsv  has lines for these keys: 'Ada'",
        "owner.tsv  has lines for the answers: 'Elm'",
        "wife.tsv  answers with these keys: 'Ada'",
    ]
    house = table("house.tsv", Ada="Elm", Bea="Oak")
    assert told(house) == [
        "house.tsv  says the old answer, too: 'Ada'",
        "house.tsv  has lines for these keys: 'Ada'",
    ]
    several = [table(f"{name}.tsv", Ada=name) for name in ("pet", "food", "drink", "tool")]
    assert told(*several) == ["pet.tsv, food.tsv, drink.tsv and 1 more  has lines for these keys: 'Ada'"]


def test_a_table_that_turns_another_round_is_told() -> None:
    husband = table("husband.tsv", Ada="Dan", Bea="Cid", Eve="Gus", Fay="Hal", Ina="Jon")
    wife = table("wife.tsv", Dan="Ada", Cid="Bea", Gus="Eve", Hal="Fay", Jon="Ina")
    line = Differs("husband.tsv", "Ada", 2, "Dan", "Cid")
    assert told(wife, line=line, changed=husband) == ["wife.tsv  turns husband.tsv round: 'Dan', 'Cid'"]


def test_rules_that_hang_on_a_table_are_told() -> None:
    assert [str(found) for found in rules_of([page(WINDING)], "home.tsv")] == ["winding.py:30  return SIDE[where]"]

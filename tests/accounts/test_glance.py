"""One rule and one line of a table, chosen to say something to a reader."""

from __future__ import annotations

import ast
from typing import Any

from pellucid.accounts.glance import example, line
from pellucid.accounts.language import Table
from pellucid.accounts.uses import AccountPage

TEXT = """from .language import account, table, variable

FOOD = table("food.tsv")
NEXT = table("next.tsv")


@variable()
def who(text):
    return text.last(FOOD)


@account
def next_token(text):
    if text.ends(" the"):
        return NEXT[text.word(2)]
    if text.ends(" eats", " food is", " favourite food of everybody in the whole village is", " likes the taste of"):
        return FOOD[who(text)]
    return "so"
"""
PAGES = [AccountPage("food.py", ast.parse(TEXT), TEXT)]
NEXT = Table("next.tsv", {"in": ("in", "sea"), "on": ("on", "hill")})
COLUMNS = ("key", "answer", "agreement", "margin", "told")
FOOD = Table(
    "food.tsv",
    {
        "Ada": ("Ada", "soup", "0.50", "9.0", "yes"),
        "Tom": ("Tom", "rice", "1.00", "9.9", "no"),
        "Max": ("Max", "fish", "1.00", "2.0", "yes"),
        "Eva": ("Eva", "plums", "1.00", "8.0", "yes"),
    },
    COLUMNS,
)
TABLES = {"food.tsv": FOOD, "next.tsv": NEXT}


def rule(number: int, n: int, covers: bool = True) -> dict[str, Any]:
    held = {"value": 1.0, "low": 0.9, "high": 1.0, "n": n}
    return {"at": f"food.py:{number}", "text": TEXT.split("\n")[number - 1].strip(), "heldout": held, "covers": covers}


RULES = [rule(15, 900), rule(17, 30), rule(18, 2000)]


def test_a_table_that_was_asked_comes_before_what_is_asked_more_often() -> None:
    told = list(example(PAGES, TABLES, {"rules": RULES, "lines": {"food.tsv": {"Max": [7, 7], "Tom": [20, 20]}}}))
    assert told == [
        "food.py:17  if text.ends(' eats', …): return FOOD[who(text)]  (right at 100.0 % [90.0, 100.0] of 30 places)",
        "tables/food.tsv:4  Max → fish (agreement 1.00, told)",
    ]


def test_without_one_it_is_any_table_and_then_any_rule() -> None:
    unsure = [RULES[0], rule(17, 30, covers=False), RULES[2]]
    said, of_table = example(PAGES, TABLES, {"rules": unsure, "lines": {"next.tsv": {"on": [9, 9]}}})
    assert said.startswith("food.py:15  if text.ends(' the'): return NEXT[text.word(2)]")
    assert of_table == "tables/next.tsv:3  on → hill"
    (said,) = example(PAGES, TABLES, {"rules": RULES[2:]})
    assert said.startswith('food.py:18  return "so"')
    assert list(example(PAGES, TABLES, {"rules": [rule(18, 5, covers=False)]})) == []


def test_rules_that_were_changed_since_are_not_shown() -> None:
    changed = [RULES[1] | {"text": "return FOOD[text.word()]"}]
    assert list(example(PAGES, TABLES, {"rules": changed})) == []


def test_a_line_is_told_and_sure_before_it_is_frequent() -> None:
    assert line(FOOD, {}) == "tables/food.tsv:5  Eva → plums (agreement 1.00, told)"
    untold = Table("food.tsv", {"Tom": FOOD.lines["Tom"]}, COLUMNS)
    assert line(untold, {}) == "tables/food.tsv:2  Tom → rice (agreement 1.00, never told)"

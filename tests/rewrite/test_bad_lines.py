"""Tables that cannot become edits are refused in a line each, and leave nothing behind."""

from __future__ import annotations

import pytest

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop, pellucid
from pellucid.accounts.asked import write
from pellucid.project.project import Project


def asked(workshop: Workshop, table: str = NEXT, account: str = ACCOUNT) -> None:
    """An account whose table was asked of the model."""
    write_account(workshop, account, table)
    write(Project.open(workshop.made), "next.tsv", ["w2 {}"], {"w1": "w3 w4", "w5": "w6"})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (NEXT.replace("w3 w4", "w3\tw4"), "next.tsv:2: 4 cells, expected 3"),
        (NEXT.replace("w3 w4", "'w3' w4\"").replace("w5", '"w5"'), "texts stand here without quotes around them"),
        (NEXT.replace("w3 w4", "w3\nw4"), "next.tsv:2: 2 cells, expected 3"),
        (NEXT + "w1\tw9\t\n", "next.tsv:4: 'w1' stands in line 2 already"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(workshop: Workshop, table: str, said: str) -> None:
    asked(workshop, table)
    assert said in pellucid("edit", workshop.made, "--tables").complaint()
    assert not (workshop.made / "edits").exists()


def test_an_account_that_names_an_address_that_is_not_there_is_refused_first(workshop: Workshop) -> None:
    asked(workshop, account=ACCOUNT.replace("L00.H01", "L07.H01"), table=NEXT.replace("w3 w4", "w7"))
    complaint = pellucid("edit", workshop.made, "--tables").complaint()
    assert "next.py:9: " in complaint
    assert "L07.H01" in complaint


def test_lines_that_cannot_be_edited_are_told_beside_each(workshop: Workshop) -> None:
    asked(workshop, NEXT.replace("w3 w4", "[bold]heaven[/bold]").replace("w5\tw6", "w9\tw6"))
    answer = pellucid("edit", workshop.made, "--tables", "--dry-run")
    assert answer.code == 2
    assert "next.tsv:2  'w1': 'w3 w4' -> '[bold]heaven[/bold]'\n    refused: '[bold]heaven[/bold]' is not" in answer.out
    assert "next.tsv:3  'w9': – -> 'w6'\n    refused: 'w9' is new" in answer.out
    assert "next.tsv  'w5': 'w6' -> –\n    refused: the line of 'w5' is gone" in answer.out
    assert "3 of 3 lines were refused (next.tsv:2, next.tsv:3, next.tsv); why stands beside each" in answer.err
    found = pellucid("edit", workshop.made, "--tables", "--json")
    assert found.code == 2
    assert [(line["key"], line["was"], line["now"], line["record"]) for line in found.json["lines"]] == [
        ("w1", "w3 w4", "[bold]heaven[/bold]", None),
        ("w9", None, "w6", None),
        ("w5", "w6", None, None),
    ]
    assert not (workshop.made / "edits").exists()


def test_where_nothing_differs_nothing_is_done(workshop: Workshop) -> None:
    write_account(workshop)
    complaint = pellucid("edit", workshop.made, "--tables").complaint()
    assert "was filled by asking the model, so there is nothing to compare next.tsv with" in complaint
    asked(workshop)
    answer = pellucid("edit", workshop.made, "--tables")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("no line of 1 table differs from what the model says")
    assert "expected one of" in pellucid("edit", workshop.made, "--tables", "--list").complaint()


def test_tables_of_a_stranger_take_trust(workshop: Workshop) -> None:
    asked(workshop)
    path = workshop.made / "program/accounts/tables/next.tsv"
    path.write_text(NEXT.replace("w6", "w7"))
    assert "program/accounts/tables/next.tsv changed" in pellucid("edit", workshop.made, "--tables").complaint()

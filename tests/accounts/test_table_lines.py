"""Lines that a person changed are found against what the model answered, and lines are brought up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts_by_hand import NEXT, write_account
from cli_support import Workshop
from pellucid.accounts.asked import write
from pellucid.accounts.folder import Folder
from pellucid.accounts.lines import Differs, read_tables, rewrite
from pellucid.base.errors import SourceError
from pellucid.project.project import Project
from pellucid.project.trust import is_trusted


def folder(workshop: Workshop, table: str = NEXT) -> Folder:
    """An account whose table was asked, as it stands in `table`."""
    write_account(workshop, table=table)
    project = Project.open(workshop.made)
    write(project, "next.tsv", ["w2 {}"], {"w1": "w3 w4", "w5": "w6"})
    return Folder(project)


def test_lines_that_differ_are_told_with_their_place(workshop: Workshop) -> None:
    assert read_tables(folder(workshop)).differing() == []
    table = NEXT.replace("w3 w4", "w7").replace("w5\tw6\t0.50", "w8\tw9\t")
    found = read_tables(folder(workshop, table)).differing()
    assert found == [
        Differs("next.tsv", "w1", 2, "w3 w4", "w7"),
        Differs("next.tsv", "w8", 3, None, "w9"),
        Differs("next.tsv", "w5", None, "w6", None),
    ]
    assert [str(line) for line in found] == ["next.tsv:2", "next.tsv:3", "next.tsv"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (NEXT.replace("w3 w4", "w3\tw4"), r"next.tsv:2: 4 cells, expected 3; tabs stand between cells alone"),
        (NEXT.replace("w3 w4", '"w3 w4"'), "without quotes around them"),
        (NEXT.replace("w3 w4", "w3\nw4"), r"next.tsv:2: 2 cells, expected 3"),
        (NEXT.replace("w3 w4", "w3 \x1b[31mw4"), r"'\\x1b' is not a printed character"),
        (NEXT + "w1\tw9\t\n", r"next.tsv:4: 'w1' stands in line 2 already; leave one line for it"),
        (NEXT.removeprefix("key\tanswer\tagreement\n"), "expected the columns key and answer"),
    ],
)
def test_a_line_that_cannot_be_read_is_told(workshop: Workshop, table: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read_tables(folder(workshop, table))


def test_classes_and_tables_that_were_not_asked_are_not_compared(workshop: Workshop) -> None:
    write_account(workshop)
    (workshop.made / "program/accounts/tables/names.txt").write_text("w1\nw2\n")
    found = read_tables(Folder(Project.open(workshop.made)))
    assert list(found.tables) == ["next.tsv"]
    assert found.differing() == []


def test_rows_are_replaced_by_key_and_all_else_stays(workshop: Workshop) -> None:
    own = folder(workshop)
    rewrite(own, "next.tsv", {"w5": ["w5", "w9", ""], "key": ["no", "line", "of it"]})
    assert Path(workshop.made / "program/accounts/tables/next.tsv").read_text() == NEXT.replace("w6\t0.50", "w9\t")
    assert is_trusted(workshop.made)

"""Accounts as the page has them: files, rules, variables and tables, with figures, within bounds."""

from __future__ import annotations

import json
import re

import pytest

from accounts_by_hand import write_account
from cli_support import Workshop, own_work, pellucid
from pellucid.accounts import behaviours as shown
from pellucid.accounts import measure
from pellucid.accounts.asked import write
from pellucid.accounts.behaviours import behaviours
from pellucid.project.project import Project

TABLE = "key\tanswer\tagreement\tmargin\ttold\nw1\tw3 w4\t1.00\t5.5\tyes\nw5\tw7\t0.50\t1.5\tno\n"


@pytest.fixture
def project(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an account whose table was asked."""
    monkeypatch.setattr(measure, "POSITIONS", {"fit": 2000, "check": 640, "heldout": 640})
    write_account(workshop, table=TABLE)
    project = Project.open(workshop.made)
    write(project, "next.tsv", ["w2 {}", "{} w2"], {"w1": "w3 w4", "w5": "w7"})
    return project


def test_a_file_has_its_rules_variables_and_tables_with_figures(project: Project) -> None:
    found = pellucid("accounts", project.directory, "--measure", "--json").json
    told = behaviours(project)
    assert told is not None
    (file,) = told["files"]
    assert (file["file"], file["about"], file["tables"]) == ("next.py", "What stands behind w1.", ["next.tsv"])
    assert {rule["line"]: rule["n"] for rule in file["rules"]} == {
        int(rule["at"].split(":")[1]): rule["heldout"]["n"] for rule in found["rules"]
    }
    assert file["places"] == sum(rule["heldout"]["n"] for rule in found["rules"])
    assert file["right"] == sum(round(r["heldout"]["n"] * (r["heldout"]["value"] or 0)) for r in found["rules"])
    (variable,) = file["variables"]
    assert (variable["name"], variable["tie"], variable["moved"]) == ("said_last", "L00.H01 @ here", 0.75)
    assert (variable["measured"], variable["holds"]) == (None, None)
    table = told["tables"]["next.tsv"]
    assert table["asks"] == ["w2 {}", "{} w2"]
    counted = found["lines"]["next.tsv"]["w1"]
    assert table["lines"] == [["w1", "w3 w4", "1.00", "5.5", "yes", *counted], ["w5", "w7", "0.50", "1.5", "no", 0, 0]]
    assert found["tables"]["phantoms"]["value"] == 0.5


def test_what_was_not_measured_is_null(project: Project) -> None:
    told = behaviours(project)
    assert told is not None
    (file,) = told["files"]
    assert (file["places"], file["right"], file["covers"]) == (None, None, 0)
    assert [rule["share"] for rule in file["rules"]] == [None, None]


def test_no_more_is_shown_than_can_be_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("RULES", 1), ("SOURCE", 4), ("LINES", 1), ("MEMBERS", 2)):
        monkeypatch.setattr(shown, name, most)
    folder = project.directory / "program" / "accounts" / "tables"
    (folder / "late.txt").write_text("w9\nw10\nw1\n", encoding="utf-8")
    told = behaviours(project)
    assert told is not None
    (file,) = told["files"]
    assert (len(file["rules"]), file["more_rules"]) == (1, 1)
    assert file["source"].count("\n") == 3
    assert file["more_source"] > 10
    assert (len(told["tables"]["next.tsv"]["lines"]), told["tables"]["next.tsv"]["more"]) == (1, 1)
    assert told["classes"] == {"late": {"some": ["w1", "w10"], "n": 3}}
    monkeypatch.setattr(shown, "FILES", 0)
    monkeypatch.setattr(shown, "ALL_LINES", 0)
    none = behaviours(project)
    assert none is not None
    assert (none["files"], none["more"], none["tables"]) == ([], 1, {})


def test_the_page_is_written_with_the_figures(project: Project) -> None:
    assert pellucid("accounts", project.directory, "--measure").code == 0
    page = (project.directory / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert data["behaviours"] == behaviours(project)
    assert data["accounts"]["uncovered"]["places"] > 0


@pytest.mark.parametrize(("file", "text"), [("next.py", "def ("), ("tables/next.tsv", "key\tanswer\nw1\n")])
def test_broken_accounts_keep_no_page_from_being_written(project: Project, file: str, text: str) -> None:
    with own_work(project.directory):
        (project.directory / "program" / "accounts" / file).write_text(text, encoding="utf-8")
    answer = pellucid("verify", project.directory, "--quick")
    assert answer.code == 0, answer.err
    assert f"the page is without accounts: program/accounts/{file}:" in answer.err
    assert '"behaviours":null' in (project.directory / "report.html").read_text(encoding="utf-8")


def test_without_accounts_there_are_none(workshop: Workshop) -> None:
    assert behaviours(Project.open(workshop.made)) is None

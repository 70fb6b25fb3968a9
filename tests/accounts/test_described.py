"""Tables, variables and rules are shown by name; a prompt is told by rule and table line; Python asks the accounts."""

from __future__ import annotations

import pytest

import pellucid
from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop
from cli_support import pellucid as command
from pellucid.accounts.asked import write
from pellucid.base.errors import ProjectError
from pellucid.project.project import Project
from pellucid.rewrite.edit import MovedLine, Record, write_record

TABLE = "key\tanswer\tagreement\tmargin\ttold\nw1\tw3 w4\t1.00\t5.5\tyes\nw5\tw7\t0.50\t1.5\tno\n"


@pytest.fixture
def asked(workshop: Workshop) -> Workshop:
    """A workshop with an account whose table was asked, and of which a line was changed."""
    write_account(workshop, table=TABLE)
    write(Project.open(workshop.made), "next.tsv", ["w2 {}", "{} w2"], {"w1": "w3 w4", "w5": "w6"})
    return workshop


def test_a_table_is_shown_with_its_evidence_and_ties(asked: Workshop) -> None:
    lines = [MovedLine("next.tsv", "w1", "w9", "w3 w4")]
    write_record(asked.made, Record(1, "fact", "", "", "2026-11-30", ("L00.H01.OV",), lines=lines))
    found = command("show", asked.made, "next")
    assert found.code == 0, found.err
    assert found.out.splitlines()[:9] == [
        "next.tsv  2 lines",
        "  the answers of the model to 'w2 {}', '{} w2'",
        "  keyed by said_last (next.py:10), tied to L00.H01 @ here, moved 0.75",
        "  asked by next.py:20  return NEXT[said_last(text)]",
        "    not measured: `pellucid accounts DIR` does that",
        "  agreement 0.75 on average, 0.50 at least",
        "  margin 3.50 on average, 1.50 at least",
        "  phantoms: 1, of which the text never says so, and the model answers all the same",
        "  changed: 1; `pellucid edit DIR --tables` makes the program say so",
    ]
    assert [line.split() for line in found.out.splitlines()[9:12]] == [
        ["line", "key", "answer", "agreement", "margin", "told"],
        ["2", "w1", "w3", "w4", "1.00", "5.5", "yes", "edit", "0001"],
        ["3", "w5", "w7", "0.50", "1.5", "no", "phantom,", "changed:", "the", "model", "says", "'w6'"],
    ]
    assert found.out == command("show", asked.made, "next.tsv").out == command("show", asked.made, "NEXT").out
    (told,) = command("show", asked.made, "next", "--json").json
    assert told["phantoms"] == ["w5"]
    assert told["keyed_by"][0]["tie"] == "L00.H01 @ here"
    assert [(line["line"], line["changed"], line["was"], line["edit"]) for line in told["lines"]] == [
        (2, False, None, "0001"),
        (3, True, "w6", None),
    ]


def test_variables_and_rules_are_shown(asked: Workshop) -> None:
    found = command("show", asked.made, "said_last").out
    assert found.startswith("said_last  next.py:10  tied to L00.H01 @ here, moved 0.75\n    @variable(tie=")
    assert "  keys next.tsv\n  asked by next.py:20  return NEXT[said_last(text)]" in found
    assert command("accounts", asked.made).code == 0
    found = command("show", asked.made, "next.py:20").out
    assert found.startswith("next.py:20  return NEXT[said_last(text)]\n  What stands behind w1.\n  ")
    assert "times on held-out text, right" in found
    assert "  hangs on said_last (next.py:10), tied to L00.H01 @ here, moved 0.75\n  hangs on next.tsv" in found
    assert [told["at"] for told in command("show", asked.made, "next.py", "--json").json] == [
        "next.py:20",
        "next.py:22",
    ]


def test_what_is_unknown_names_what_is_near(asked: Workshop) -> None:
    complaint = command("show", asked.made, "nex").complaint()
    assert "'nex' names no part, and no table, variable or rule of accounts; did you mean next" in complaint
    assert "is not an address" in command("show", asked.made, "quite else").complaint()
    (asked.made / "program/accounts/tables/next.tsv").write_text("no table")
    assert command("show", asked.made, "L00.H01.QK").code == 0
    assert "next.tsv:1: expected the columns" in command("show", asked.made, "next").complaint()


def test_nothing_of_a_stranger_runs_to_be_shown(asked: Workshop) -> None:
    path = asked.made / "program/accounts/next.py"
    path.write_text(ACCOUNT.replace("class of", "").replace("return text.last(NEXT)", "return 1 / 0"))
    assert "1 / 0" in command("show", asked.made, "said_last").out
    with pytest.raises(ProjectError, match="--trust"):
        pellucid.open(asked.made).accounts()


def test_why_ends_in_rule_and_table_line(asked: Workshop) -> None:
    write_account(asked, table=NEXT)
    found = command("why", asked.made, "w2 w5 w1")
    assert found.code == 0, found.err
    assert found.out.endswith(
        "\n\naccounts:\n"
        "  ' w3'  of the answer 'w3 w4'\n"
        "  next.py:20  return NEXT[said_last(text)]\n"
        "      said_last = 'w1'  (L00.H01 @ here, moved 0.75)\n"
        "  tables/next.tsv:2  'w1' -> 'w3 w4'  (agreement 1.00)\n"
    )
    assert command("why", asked.made, "w2 w9 w1").out.endswith("\n\naccounts:\n  no account speaks\n")
    told = command("why", asked.made, "w2 w5 w1", "--json").json["account"]
    assert (told["says"], told["rule"], told["variables"][0]["value"]) == (" w3", "next.py:20", "w1")
    assert told["lines"] == [{"table": "next.tsv", "line": 2, "key": "w1", "answer": "w3 w4", "agreement": "1.00"}]
    assert command("why", asked.made, "w2 w9 w1", "--json").json["account"] is None


def test_accounts_are_asked_from_python(asked: Workshop) -> None:
    project = pellucid.open(asked.made)
    accounts = project.accounts()
    said = accounts.said(project.model.tokenizer.opened("w2 w5 w1"))[-1]
    assert said is not None
    assert (said.answer, str(accounts.rules[said.rule]), said.lines) == ("w3 w4", "next.py:20", (("next.tsv", "w1"),))


def test_where_there_are_no_accounts_none_speaks(workshop: Workshop) -> None:
    assert pellucid.open(workshop.made).accounts().said([1, 2]) == [None, None]
    assert "accounts:" not in command("why", workshop.made, "w2 w5").out

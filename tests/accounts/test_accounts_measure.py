"""Metering accounts: coverage on held-out text, with what counts decided on check text."""

from __future__ import annotations

import pytest

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop, pellucid
from pellucid.accounts import measure
from pellucid.accounts.measure import read
from pellucid.project.project import Project

POSITIONS = {"fit": 2000, "check": 640, "heldout": 640}


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "POSITIONS", POSITIONS)


def own_account(workshop: Workshop) -> tuple[str, float]:
    """An account that says what the model most often says, and the share of held-out places where that is right."""
    project = Project.open(workshop.made)
    held, fit = read(project, "heldout").own, read(project, "fit").own
    token = int(fit.flatten().bincount().argmax())
    word = project.model.tokenizer.decode([token])
    account = f'from .language import account\n\n\n@account\ndef next_token(text):\n    return "{word}"\n'
    return account, float((held == token).float().mean())


def test_accounts_are_metered_and_stand_in_the_report(workshop: Workshop) -> None:
    account, right = own_account(workshop)
    write_account(workshop, account)
    found = pellucid("accounts", workshop.made, "--json").json
    (rule,) = found["rules"]
    assert rule["at"] == "next.py:6"
    assert rule["heldout"]["value"] == pytest.approx(right)
    assert rule["heldout"]["n"] == found["positions"]["heldout"] == found["all"]["top1"]["n"]
    assert found["all"]["top1"]["value"] == pytest.approx(right)
    assert found["hard"]["top1"]["n"] == found["positions"]["hard"]
    covered = found["all"]["covered"]["value"]
    assert covered == (1.0 if rule["check"]["low"] >= 0.95 else 0.0)
    assert found["symbols"] == 11 + len(("w1", "w3", "w4", "w5", "w6"))
    project = Project.open(workshop.made)
    assert project.report()["accounts"] == found
    (row,) = project.evidence.find(kind="accounts", metric="top1 (all)")
    assert row[1].value == pytest.approx(right)
    board = pellucid("report", workshop.made).out
    assert f"accounts               cover {100 * covered:.1f} % of positions" in board
    assert f"top-1 {100 * right:.1f} %" in board


def test_figures_hold_until_an_account_changes(workshop: Workshop) -> None:
    write_account(workshop)
    first = pellucid("accounts", workshop.made, "--json").json
    count = Project.open(workshop.made).readings.count
    again = pellucid("accounts", workshop.made, "--json").json
    assert again == first
    assert Project.open(workshop.made).readings.count == count
    write_account(workshop, table=NEXT.replace("w3 w4", "w4"))
    assert pellucid("accounts", workshop.made, "--json").json["symbols"] == first["symbols"] - 1
    assert Project.open(workshop.made).readings.count == count + 1


def test_accounts_outlive_a_decompilation_and_a_measurement(workshop: Workshop) -> None:
    write_account(workshop)
    found = pellucid("accounts", workshop.made, "--json").json
    held = {name: text for name, text in workshop.files().items() if name.startswith("program/accounts/")}
    for again in (("verify", workshop.made, "--quick"), ()):
        answer = pellucid(*again) if again else workshop.decompile()
        assert answer.code == 0, answer.err
        assert Project.open(workshop.made).report()["accounts"] == found
        assert {name: workshop.files()[name] for name in held} == held


def test_a_report_whose_accounts_are_something_else_is_refused(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    project.save_report(project.report() | {"accounts": {"all": 1, "hard": {}, "symbols": 3}})
    assert "accounts.all" in pellucid("report", workshop.made).complaint()


def test_figures_are_printed(workshop: Workshop) -> None:
    write_account(workshop)
    answer = pellucid("accounts", workshop.made)
    assert answer.code == 0, answer.err
    said = answer.out
    assert said.startswith("1 account, 2 rules, ")
    assert "right where covered" in said
    assert "the longest n-gram" in said
    assert "next.py:20" in said


def test_a_scope_that_covers_nothing_is_said(workshop: Workshop) -> None:
    write_account(workshop, ACCOUNT.replace("text.last(LATE)", 'text.ends("")'))
    answer = pellucid("accounts", workshop.made, "--json")
    assert answer.json["silent"] == ["next.py"]
    assert answer.json["all"]["precision"]["value"] is None
    assert "program/accounts/next.py covers nothing" in answer.err


def test_without_accounts_all_is_null(workshop: Workshop) -> None:
    assert pellucid("accounts", workshop.made, "--json").out == "null\n"
    assert pellucid("accounts", workshop.made).out.startswith("no accounts: ")
    assert Project.open(workshop.made).report()["accounts"] is None


def test_a_broken_account_is_bad_input(workshop: Workshop) -> None:
    write_account(workshop, ACCOUNT.replace("L00.H01 @ here", "L09.H01 @ here"))
    complaint = pellucid("accounts", workshop.made).complaint()
    assert "next.py:9: " in complaint
    assert "'L09.H01' names nothing" in complaint

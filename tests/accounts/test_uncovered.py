"""What nothing covers is told by kind, with examples and parts, in the report and in the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from accounts_by_hand import write_account
from cli_support import Workshop, own_work, pellucid
from pellucid.accounts import measure, uncovered
from pellucid.project.project import Project

POSITIONS = {"fit": 2000, "check": 640, "heldout": 640}


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "POSITIONS", POSITIONS)


def figures(workshop: Workshop) -> dict[str, Any]:
    answer = pellucid("accounts", workshop.made, "--measure", "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = answer.json
    return found


def test_kinds_are_of_all_places_that_nothing_covers(workshop: Workshop) -> None:
    write_account(workshop)
    found = figures(workshop)
    told, n = found["uncovered"], found["positions"]["heldout"]
    assert told["places"] == n - round(n * found["all"]["covered"]["value"])
    assert sum(kind["n"] for kind in told["kinds"]) + told["others"] == told["places"]
    assert told["silent"] == n - sum(rule["heldout"]["n"] for rule in found["rules"])
    assert told["kinds"] == sorted(told["kinds"], key=lambda kind: (-kind["n"], kind["behind"]))
    assert all(kind["behind"].split()[-1].startswith("w") for kind in told["kinds"])
    for kind in told["kinds"]:
        assert 0 <= kind["silent"] <= kind["n"]
        assert kind["right"]["n"] == kind["n"]
        assert sum(count for _, count in kind["says"]) <= kind["n"]


def test_classes_are_slots_of_kinds(workshop: Workshop) -> None:
    write_account(workshop)
    tables = workshop.made / "program" / "accounts" / "tables"
    with own_work(workshop.made):
        (tables / "late.txt").write_text("".join(f"w{number}\n" for number in range(12)), encoding="utf-8")
    kinds = figures(workshop)["uncovered"]["kinds"]
    assert kinds[0]["behind"].split() == 6 * ["{late}"]
    assert not any("w5" in kind["behind"] for kind in kinds)


def test_examples_show_first_where_something_else_is_said(workshop: Workshop) -> None:
    write_account(workshop)
    (kind, *_) = figures(workshop)["uncovered"]["kinds"]
    examples = kind["examples"]
    differs = [one["model"] != one["said"] for one in examples]
    assert 0 < len(examples) <= uncovered.EXAMPLES
    assert differs == sorted(differs, reverse=True)
    last = kind["behind"].split()[-1]
    assert all(one["before"].endswith(last) for one in examples)
    assert {one["rule"] for one in examples} <= {None, "next.py:20", "next.py:22"}


def test_parts_are_looked_for_where_that_is_cheap(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    write_account(workshop)
    kinds = figures(workshop)["uncovered"]["kinds"]
    looked = [kind["parts"] for kind in kinds]
    assert all(looked[: uncovered.TRACED])
    assert looked[uncovered.TRACED :] == [None] * len(looked[uncovered.TRACED :])
    for cause in looked[0]["causes"]:
        assert cause["back"] >= 0
        assert isinstance(cause["effect"], float)
    monkeypatch.setattr(uncovered, "COST", 0)
    write_account(workshop, table="key\tanswer\nw1\tw3 w4\n")
    assert [kind["parts"] for kind in figures(workshop)["uncovered"]["kinds"]] == [None] * len(kinds)


def test_kinds_are_printed_with_the_figures_and_the_report(workshop: Workshop) -> None:
    write_account(workshop)
    told = figures(workshop)["uncovered"]
    most = told["kinds"][0]
    printed = pellucid("accounts", workshop.made, "--measure").out
    assert f"What nothing covers: {told['places']:,} positions" in printed
    assert f"{most['n']:>7,}  {most['behind']!r}" in printed
    board = pellucid("report", workshop.made).out
    assert f"covered by nothing   {told['places']:,} positions, most behind {most['behind']!r} {most['n']}" in board


def test_figures_of_before_are_measured_again(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    write_account(workshop)
    found = figures(workshop)
    old = {name: found[name] for name in found if name not in ("uncovered", "tables", "ties", "lines")}
    project = Project.open(workshop.made)
    project.save_report(project.report() | {"accounts": old})
    assert "covered by nothing" not in pellucid("report", workshop.made).out
    monkeypatch.setattr(measure, "account_figures", lambda _: old)
    assert figures(workshop)["uncovered"] == found["uncovered"]


def test_long_text_is_cut_at_a_blank() -> None:
    assert uncovered._tail("a b") == "a b"
    cut = uncovered._tail("word " * 100)
    assert cut.startswith("… word")
    assert len(cut) <= uncovered.BEFORE + 1

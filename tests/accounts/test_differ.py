"""What differs between accounts: lines, tables, classes and rules, each with the text that it changes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop, pellucid
from pellucid.accounts import differ, measure, own_work
from pellucid.accounts.differ import AccountsDifference, difference
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Table
from pellucid.accounts.measure import rows_of, spoken
from pellucid.accounts.paired import ReadFolder, pairs, stated
from pellucid.exact.predictor import Predictor
from pellucid.project.project import Project
from pellucid.project.trust import trust

LATE = 'one_of("w9", "w10")'
CLASS = ACCOUNT.replace(LATE, 'spans("late.txt")').replace("one_of", "spans")


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "POSITIONS", {"fit": 2000, "check": 640, "heldout": 640})


def other(workshop: Workshop, account: str = ACCOUNT, table: str = NEXT, **files: str) -> Path:
    """A copy of the program with accounts of its own; `files` are files of `tables/`, by name."""
    path = workshop.root / "other"
    shutil.copytree(workshop.made, path)
    folder = path / "program" / "accounts"
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "next.py").write_text(account, encoding="utf-8")
    (folder / "tables" / "next.tsv").write_text(table, encoding="utf-8")
    for name, text in files.items():
        (folder / "tables" / f"{name}.txt").write_text(text, encoding="utf-8")
    trust(path)
    return path


def compared(workshop: Workshop, against: Path) -> AccountsDifference:
    """How the program and its accounts differ from those `against`."""
    mine, theirs = (Project.open(directory, trust=True) for directory in (workshop.made, against))
    told = difference(mine, theirs, (theirs.program(), mine.program()))
    assert told is not None
    return told


def found(workshop: Workshop, against: Path) -> dict[str, Any]:
    """The same as JSON shows it."""
    return compared(workshop, against).to_dict()


def places(*directories: Path) -> int:
    """At how many places of check text the accounts of two directories say something else."""
    projects = [Project.open(directory, trust=True) for directory in directories]
    ids = rows_of(projects[0], "check")
    one, two = (spoken(Folder(project).accounts(), ids).token for project in projects)
    return int((one != two).sum())


def test_a_line_is_told_with_both_answers_and_what_it_changes(workshop: Workshop) -> None:
    write_account(workshop)
    before = other(workshop, table=NEXT.replace("w3 w4", "w7").replace("w5\tw6\t0.50\n", ""))
    accounts = found(workshop, before)
    lines = {entry["key"]: entry for entry in accounts["differing"]}
    assert set(lines) == {"w1", "w5"}
    assert (lines["w1"]["kind"], lines["w1"]["at"]) == ("line", "next.tsv:2")
    assert (lines["w1"]["before"], lines["w1"]["after"]) == ("w7", "w3 w4")
    assert (lines["w5"]["before"], lines["w5"]["after"]) == (None, "w6")
    changed = places(workshop.made, before)
    assert accounts["changed"] == lines["w1"]["changed"] == changed > 0
    assert lines["w1"]["share"] == changed / accounts["positions"]
    assert accounts["elsewhere"] == lines["w5"]["changed"] == 0
    assert pellucid("diff", workshop.made, "--against", before, "--json").json["accounts"] == accounts
    text = pellucid("diff", workshop.made, "--against", before).out
    assert "next.tsv:2  'w1': 'w7' -> 'w3 w4'" in text
    assert f"something else is said at {changed} of {accounts['positions']} places of check text" in text


def test_names_of_files_are_no_difference(workshop: Workshop) -> None:
    write_account(workshop)
    before = other(workshop, ACCOUNT.replace("next.tsv", "behind.tsv").replace("NEXT", "BEHIND"))
    folder = before / "program" / "accounts"
    (folder / "tables" / "next.tsv").rename(folder / "tables" / "behind.tsv")
    (folder / "next.py").rename(folder / "another.py")
    trust(before)
    accounts = found(workshop, before)
    assert (accounts["differing"], accounts["changed"]) == ([], 0)


def test_names_of_functions_are_no_difference_and_what_they_do_is(workshop: Workshop) -> None:
    write_account(workshop)
    before = other(workshop, ACCOUNT.replace("said_last", "a_key"))
    assert found(workshop, before)["differing"] == []
    shutil.rmtree(before)
    before = other(workshop, ACCOUNT.replace("said_last", "a_key").replace("text.last(NEXT)", "text.first(NEXT)"))
    told = found(workshop, before)["differing"]
    assert {entry["what"].split(":")[0] for entry in told} == {"is new", "is gone"}
    assert all("next.tsv[" in entry["what"] for entry in told)


def test_what_stands_behind_else_is_told_without_a_double_not(workshop: Workshop) -> None:
    write_account(
        workshop, ACCOUNT + '    elif not text.has("w3"):\n        return "w7"\n    else:\n        return "w8"\n'
    )
    told = {
        rule.says: rule.conditions[-1]
        for rule in stated(ReadFolder.of(Folder(Project.open(workshop.made, trust=True))))
    }
    assert (told["return 'w7'"], told["return 'w8'"]) == ("not text.has('w3')", "text.has('w3')")


def test_rules_are_told_by_what_they_are_asked_behind(workshop: Workshop) -> None:
    write_account(workshop, ACCOUNT.replace('text.ends(" w1")', 'text.ends(" w1", " w5")'))
    before = other(workshop, ACCOUNT.replace('        return "w2"\n', '        return "w8"\n'))
    accounts = found(workshop, before)
    told = {entry["what"].split(":")[0]: entry for entry in accounts["differing"]}
    assert set(told) == {"also for ' w5'", "is new", "is gone"}
    assert {entry["kind"] for entry in told.values()} == {"rule"}
    assert told["is gone"]["before"].startswith("return 'w8'  if ")
    assert told["is new"]["at"] == "next.py:22"
    assert sum(told[name]["changed"] for name in ("is new", "also for ' w5'")) == accounts["changed"]


def test_classes_are_told_by_their_members(workshop: Workshop) -> None:
    before = other(workshop, CLASS, late="w9\nw10\n")
    shutil.copytree(before / "program" / "accounts", workshop.made / "program" / "accounts")
    (workshop.made / "program" / "accounts" / "tables" / "late.txt").write_text("w9\nw10\nw8\n", encoding="utf-8")
    trust(workshop.made)
    assert [(entry["kind"], entry["what"]) for entry in found(workshop, before)["differing"]] == [("class", "with w8")]


def test_what_both_programs_say_comes_first(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    write_account(workshop)
    before = other(workshop, ACCOUNT.replace('return "w2"', 'return "w8"'), NEXT.replace("w3 w4", "w7"))
    model = Project.open(workshop.made).model
    answers = iter([model.tokenizer.encode("w7"), model.tokenizer.encode("w3")])

    def one_word(_: object, ids: torch.Tensor) -> list[list[int]]:
        return (torch.ones_like(ids) * torch.tensor(next(answers))).tolist()

    monkeypatch.setattr(differ, "_said", one_word)
    first, *others = found(workshop, before)["differing"]
    assert first["key"] == "w1"
    assert 0 < first["borne_out"] <= first["changed"]
    assert not any(entry["borne_out"] for entry in others)
    assert max(entry["changed"] for entry in others) > first["changed"]


@dataclass
class Otherwise:
    """A program that says another word behind one word, and elsewhere what `own` says."""

    own: Predictor
    behind: int
    says: int

    @property
    def n_ctx(self) -> int:
        return self.own.n_ctx

    @property
    def n_vocab(self) -> int:
        return self.own.n_vocab

    def extend(self, ids: np.ndarray, cache: Any = None, last_only: bool = False) -> tuple[np.ndarray, Any]:
        logits, cache = self.own.extend(ids, cache, last_only)
        logits = logits.copy()
        logits[..., self.says] += 50.0 * (ids[:, -logits.shape[1] :] == self.behind)
        return logits, cache


def test_what_the_programs_say_differently_is_told_first_by_what_stands_before_it(workshop: Workshop) -> None:
    write_account(workshop)
    mine, theirs = Project.open(workshop.made, trust=True), Project.open(other(workshop), trust=True)
    (behind,), (says,) = (mine.model.tokenizer.encode(word) for word in ("w4", "w9"))
    before = Otherwise(theirs.program(), behind, mine.model.tokenizer.encode("w8")[0])
    told = difference(mine, theirs, (before, Otherwise(mine.program(), behind, says)))
    assert told is not None
    found = told.programs
    count = int((rows_of(mine, "fit") == behind).sum())
    assert found.differing == found.sure == count > 0
    (change,) = found.changes
    assert (change.kind, change.changed, change.of) == ("pattern", count, count)
    assert change.share == count / found.positions
    assert change.what.startswith("behind ' w4': ' w8' -> ' w9', by ")
    lines = list(differ.difference_lines(told))
    assert lines[0] == f"the programs surely differ at {count:,} of 2,000 places of text ({count / 2000:.2%})"
    assert change.what in lines[1]


def test_accounts_that_were_found_another_way_are_counted_and_a_persons_are_listed(workshop: Workshop) -> None:
    write_account(workshop)
    before = other(workshop, table=NEXT.replace("w3 w4", "w7"))
    listed = list(differ.difference_lines(compared(workshop, before)))
    assert listed[0] == "the programs say the same at all of 2,000 places of text"
    assert any("'w1': 'w7' -> 'w3 w4'" in line for line in listed)
    for directory, table in ((workshop.made, NEXT), (before, NEXT.replace("w3 w4", "w7"))):
        project = Project.open(directory, trust=True)
        own_work.write(project, "tables/next.tsv", table)
        own_work.write(project, "next.py", ACCOUNT)
    listed = list(differ.difference_lines(compared(workshop, before)))
    assert not any("'w1': 'w7' -> 'w3 w4'" in line for line in listed)
    assert "found another way, with no program that bears it out: 1" in listed


def test_without_accounts_nothing_is_compared(workshop: Workshop) -> None:
    before = workshop.root / "other"
    shutil.copytree(workshop.made, before)
    trust(before)
    project, theirs = Project.open(workshop.made), Project.open(before)
    assert difference(project, theirs, (theirs.program(), project.program())) is None


def test_tables_are_paired_by_what_is_in_them() -> None:
    def table(name: str, **answers: str) -> Table:
        return Table(name, {key: (key, answer) for key, answer in answers.items()})

    one = {"a": table("a", x="1", y="2", z="3"), "b": table("b", x="4", y="5", z="6"), "c": table("c", u="1")}
    two = {"b": table("b", x="1", y="2", z="9"), "d": table("d", x="4", y="5"), "c": table("c", u="7")}
    assert pairs(ReadFolder(one, {}, ()), ReadFolder(two, {}, ())) == {"a": "b", "b": "d", "c": "c"}

"""Changed lines of tables become edits: predicted all at once, made one by one, undone alone, told in the evidence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

import pytest
import torch

from pellucid.accounts.asked import read, write
from pellucid.accounts.lines import Differs
from pellucid.project.trust import trust
from pellucid.rewrite.apply import predicted
from pellucid.rewrite.command import EditMade, make, undone
from pellucid.rewrite.edit import read_records
from pellucid.rewrite.intent import fact
from pellucid.rewrite.tables import Planned, TablePlan, make_lines, plan, told_apart
from pellucid.rewrite.workbench import Workbench
from pellucid.zoo.village import Village

ASKS = {
    "home.tsv": ["{} lives in", "The home of {} is in", "Where is the home of {}? It is in", "{}'s home is in"],
    "dwells.tsv": ["As for {}, the home is in"],
    "fear.tsv": ["{} is afraid of", "The greatest fear of {} is"],
    "pet.tsv": ["{} keeps a", "The pet of {} is a"],
}
KEYS = ("Ada", "Boris", "Felix", "Dora", "Cora", "Ursula")
ACCOUNT = '''"""Where people live."""

from .language import account, table, variable

HOME = table("home.tsv")


@variable(tie="L02.H00 @ here", moved=0.98)
def who(text):
    """The last person in the text."""
    return text.last(HOME)


@account
def next_token(text):
    if text.ends(" lives in"):
        return HOME[who(text)]
'''


def _answers(table: str) -> dict[str, str]:
    relation = {"fear.tsv": "fear", "pet.tsv": "pet"}.get(table, "home")
    held = {fact.person.name: fact.answer for fact in Village().facts if fact.relation.name == relation}
    return {key: held[key] for key in KEYS}


@pytest.fixture
def tables(village: Workbench) -> Iterator[Workbench]:
    """The village with three tables as they were asked, two of which ask the same in other words."""
    for name, asks in ASKS.items():
        write(village.project, name, asks, _answers(name))
        change(village, name, {})
    (village.project.directory / "program" / "accounts" / "homes.py").write_text(ACCOUNT, encoding="utf-8")
    trust(village.project.directory)
    yield village
    if standing := [record.name for record in read_records(village.program.directory) if not record.undone]:
        undone(village.project, standing)
    shutil.rmtree(village.project.directory / "edits", ignore_errors=True)
    village.program.edited()


def change(bench: Workbench, name: str, answers: Mapping[str, str]) -> None:
    """Write the lines of a table as a person would, `answers` in the place of those that were asked."""
    lines = (f"{key}\t{answer}\t1.00\t9.0\tyes\n" for key, answer in (_answers(name) | dict(answers)).items())
    path = bench.project.directory / "program" / "accounts" / "tables" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("key\tanswer\tagreement\tmargin\ttold\n" + "".join(lines), encoding="utf-8")
    trust(bench.project.directory)


def cells(bench: Workbench, name: str, key: str) -> list[str]:
    text = (bench.project.directory / "program" / "accounts" / "tables" / name).read_text(encoding="utf-8")
    return next(line.split("\t") for line in text.splitlines() if line.startswith(f"{key}\t"))


def kept(bench: Workbench, name: str, key: str) -> str:
    """The answer in the evidence."""
    found = read(bench.project, name)
    assert found is not None
    return found.answers[key]


def made(bench: Workbench) -> tuple[TablePlan, dict[str, str]]:
    """The plan, and what came of each line: the number of its edit, or why it was refused."""
    found = plan(bench)
    lines = make_lines(bench, found.lines)
    return found, {
        f"{line.line.table} {line.line.key}": line.record.name if line.record else line.refused for line in lines
    }


def test_lines_become_edits_that_are_measured_and_undone_alone(tables: Workbench) -> None:
    change(tables, "home.tsv", {"Ada": "Oak Street", "Felix": "Elm Lane"})
    change(tables, "fear.tsv", {"Ada": "fire"})
    assert _answers("pet.tsv")["Ursula"] == "canary"
    change(tables, "pet.tsv", {"Ursula": "cat"})  # begins with the same token, so that the edit speaks behind it
    found, made_of = made(tables)
    told = {(line.line.table, line.line.key): line for line in found.lines}
    assert {place: (line.predicted, len(line.question.rows)) for place, line in told.items() if line.question} == {
        ("home.tsv", "Ada"): (4, 4),
        ("home.tsv", "Felix"): (4, 4),
        ("pet.tsv", "Ursula"): (2, 2),
        ("fear.tsv", "Ada"): (2, 2),
    }
    assert not any(line.doubts for line in found.lines)
    assert told["home.tsv", "Ada"].others == (("dwells.tsv", "Ada"),)  # which asks the same in other words
    assert sorted(made_of.values()) == ["0001", "0002", "0003", "0004"]
    for name, key, answer in (("home.tsv", "Ada", "Oak Street"), ("dwells.tsv", "Ada", "Oak Street")):
        assert kept(tables, name, key) == cells(tables, name, key)[1] == answer
    assert cells(tables, "home.tsv", "Ada")[2] == "1.00"
    assert cells(tables, "home.tsv", "Ada")[4] == ""  # what was not measured of the new answer
    assert kept(tables, "pet.tsv", "Ursula") == "cat"
    assert kept(tables, "home.tsv", "Dora") == _answers("home.tsv")["Dora"]
    record = next(record for record in read_records(tables.program.directory) if record.name == made_of["home.tsv Ada"])
    assert [(line.table, line.now) for line in record.lines] == [
        ("dwells.tsv", "Oak Street"),
        ("home.tsv", "Oak Street"),
    ]
    assert not plan(tables).lines  # what was made differs no more
    undone(tables.project, [record.name])
    tables.program.edited()
    for name in ("home.tsv", "dwells.tsv"):
        assert cells(tables, name, "Ada") == ["Ada", "Pine Lane", "1.00", "9.0", "yes"]  # the line as it was
        assert kept(tables, name, "Ada") == "Pine Lane"
    assert kept(tables, "home.tsv", "Felix") == "Elm Lane"
    assert kept(tables, "fear.tsv", "Ada") == "fire"


def test_other_edits_bring_lines_up_to_date_but_not_those_of_a_person(tables: Workbench) -> None:
    change(tables, "dwells.tsv", {"Ada": "Birch Lane"})
    proposal = fact(tables, "Ada lives in", "Oak Street")
    ready = predicted(tables, proposal)
    record = make(tables, EditMade(proposal, ready, "", ready.to_dict(tables)))
    assert kept(tables, "home.tsv", "Ada") == cells(tables, "home.tsv", "Ada")[1] == "Oak Street"
    assert kept(tables, "dwells.tsv", "Ada") == "Oak Street"
    assert cells(tables, "dwells.tsv", "Ada")[1] == "Birch Lane"
    undone(tables.project, [record.name])
    assert cells(tables, "dwells.tsv", "Ada")[1] == "Birch Lane"
    assert kept(tables, "dwells.tsv", "Ada") == "Pine Lane"


def test_lines_that_cannot_be_made_are_told_one_by_one(tables: Workbench) -> None:
    change(tables, "home.tsv", {"Ada": "Oak Street", "Felix": "Elm Lane", "Zoe": "Elm Lane", "Cora": "a" * 400})
    change(tables, "dwells.tsv", {"Ada": "Elm Lane"})
    path = tables.project.directory / "program" / "accounts" / "tables" / "fear.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]), encoding="utf-8")
    trust(tables.project.directory)
    _, found = made(tables)
    assert found["home.tsv Felix"] == "0001"
    assert "cannot tell it from dwells.tsv:2 ('Ada')" in found["home.tsv Ada"]
    assert "cannot tell it from home.tsv:2 ('Ada')" in found["dwells.tsv Ada"]
    assert "the model reads 128" in found["home.tsv Cora"]
    assert "--fact 'Zoe lives in' 'Elm Lane'" in found["home.tsv Zoe"]
    assert (
        "put it back; if the program is to say so no more, --forget 'Ursula is afraid of'" in found["fear.tsv Ursula"]
    )
    assert [record.name for record in read_records(tables.program.directory)] == ["0001"]


def test_what_the_program_says_already_is_only_written_down(tables: Workbench) -> None:
    write(tables.project, "home.tsv", ASKS["home.tsv"], _answers("home.tsv") | {"Ada": "Elm Lane"})
    found, made_of = made(tables)
    assert [line.already for line in found.lines] == [True]
    assert made_of == {"home.tsv Ada": ""}
    assert kept(tables, "home.tsv", "Ada") == "Pine Lane"
    assert not read_records(tables.program.directory)


def test_a_line_of_which_the_program_says_something_else_is_refused(tables: Workbench) -> None:
    write(tables.project, "home.tsv", ASKS["home.tsv"], _answers("home.tsv") | {"Ada": "Ivy Street"})
    change(tables, "home.tsv", {"Ada": "Elm Lane"})
    _, found = made(tables)
    assert "of 'Ada' the program says ' Pine Lane" in found["home.tsv Ada"]
    assert "neither 'Ivy Street' nor 'Elm Lane'" in found["home.tsv Ada"]


def test_an_edit_that_does_not_do_it_is_taken_back(tables: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.rewrite import tables as module
    from pellucid.rewrite.asking import KeyAnswer

    change(tables, "home.tsv", {"Ada": "Oak Street"})
    ids = tables.model.ids("Ada lives in")
    before = tables.measured(ids)
    monkeypatch.setattr(module, "answer_of", lambda *_: KeyAnswer("Pine Lane", 3, 4, 1.0))
    _, found = made(tables)
    assert found["home.tsv Ada"] == "made, it answers 'Pine Lane' in 3 of 4 wordings; it was taken back"
    assert torch.equal(tables.measured(ids), before)
    assert [record.undone is None for record in read_records(tables.program.directory)] == [False]
    assert kept(tables, "home.tsv", "Ada") == "Pine Lane"
    assert cells(tables, "home.tsv", "Ada")[1] == "Oak Street"  # what a person wrote stays


def test_lines_are_told_apart_by_what_is_predicted_to_change() -> None:
    ida = Planned(Differs("home.tsv", "Ida", 2, "Elm Lane", "Oak Street"), others=(("home.tsv", "Ivan"),))
    ivan = Planned(Differs("home.tsv", "Ivan", 3, "Elm Lane", "Ash Road"))
    ingo = Planned(Differs("home.tsv", "Ingo", 4, "Elm Lane", "Ash Road"))
    same = Planned(Differs("home.tsv", "Ivan", 3, "Elm Lane", "Oak Street"))
    assert "cannot tell it from home.tsv:3 ('Ivan')" in told_apart(ida, [ida, ivan, ingo]).refused
    assert "cannot tell it from home.tsv:2 ('Ida')" in told_apart(ivan, [ida, ivan, ingo]).refused
    assert not told_apart(ingo, [ida, ivan, ingo]).refused
    assert not told_apart(ida, [ida, same]).refused  # both are to have the same answer


def test_a_key_is_told_apart_from_those_that_begin_alike(village: Workbench) -> None:
    for prompt, other, begun in (("Ida plays the", "Ivan", "I"), ("Edith plays the", "Emil", "E")):
        assert village.texts(village.model.ids(other)[0].tolist())[1] == begun
        found = fact(village, prompt, "cello", about=[range(len(prompt.split()[0]))], apart=[other])
        assert found.speeches
        assert not any(condition == ((0, begun),) for speech in found.speeches for condition in speech.of)

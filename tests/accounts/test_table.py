"""Tables that are asked for: right answers on the village, bad input, and what is printed and written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import checkpoints
import pellucid as package
from cli_support import Answer, Workshop, pellucid
from pellucid.accounts import answers
from pellucid.accounts.choices import own_answers
from pellucid.accounts.table import AskedTable, TableLine, WordingReading, _lines, table
from pellucid.accounts.table_command import COLUMNS, csv_text, lines
from pellucid.accounts.wordings import answer_ids
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.zoo.village import Village

HOMES = ("{} lives in", "The home of {} is in")


@pytest.fixture(scope="module")
def village() -> Model:
    return Model(load_subject("zoo:village"))


def facts(relation: str) -> dict[str, str]:
    return {fact.person.name: fact.answer for fact in Village().facts if fact.relation.name == relation}


def file(path: Path, *texts: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


# --- what is read -----------------------------------------------------------------------------------------------------


def test_all_homes_of_the_village_are_right(tmp_path: Path) -> None:
    homes = facts("home")
    people = file(tmp_path / "people.txt", *homes)
    found = pellucid("table", "zoo:village", "--ask", HOMES[0], "--ask", HOMES[1], "--of", people, "--json").json
    assert {line["key"]: line["answer"] for line in found["lines"]} == homes
    assert sorted(found["answers"]) == sorted(set(homes.values()))
    assert found["chance"] == 1 / 12
    assert found["wordings"] == [{"ask": wording, "agreeing": 64, "plain": 64} for wording in HOMES]
    for line in found["lines"]:
        assert (line["agreement"], line["same"], line["tie"]) == (1.0, True, None)
        assert line["margin"] > 3
        assert [reading["plain"] for reading in line["readings"]] == [homes[line["key"]]] * 2


@pytest.mark.parametrize("given", [False, True])
def test_a_model_that_says_an_article_first_is_read_behind_it(village: Model, given: bool) -> None:
    pets = facts("pet")
    asks = ["{} keeps", "{}'s pet is"]
    found = package.table(village, asks, list(pets), sorted(set(pets.values())) if given else None)
    assert {line.key: line.answer for line in found.lines} == pets
    assert {line.plain for line in found.lines} == {f"a {pet}" for pet in pets.values()}
    assert all(line.same and line.agreement == 1 for line in found.lines)


def test_wordings_with_and_without_it_agree(village: Model) -> None:
    homes = facts("home")
    found = table(village, ["{} lives", HOMES[1]], list(homes))
    assert {line.key: line.answer for line in found.lines} == homes
    assert {line.agreement for line in found.lines} == {1.0}
    assert found["Ada"] == homes["Ada"]


def test_answers_that_are_likely_of_everybody_do_not_win_by_that() -> None:
    scores = np.log([[[0.4, 0.2], [0.4, 0.0004]], [[0.4, 0.2], [0.4, 0.0002]]])
    said = [[answers.Answer((1,), "often", 1.0, 0, "often")] * 2] * 2
    first, second = _lines(["a", "b"], said, ["often", "rarely"], scores)
    assert (first.answer, first.likeliest, first.plain, first.same) == ("rarely", "often", "often", False)
    assert (second.answer, second.likeliest, second.same) == ("often", "often", True)
    assert (first.agreement, second.agreement) == (1.0, 1.0)
    ahead = [np.log(0.2) - 0.75 * np.log(mean) - 0.25 * np.log(0.4) for mean in (0.1002, 0.1001)]
    assert first.margin == pytest.approx(np.mean(ahead))


def test_agreement_is_the_share_of_wordings_and_the_margin_is_that_of_their_mean() -> None:
    one, other = [[0.0, -1.0], [-1.0, 0.0]], [[-5.0, 0.0], [0.0, -5.0]]
    scores = np.array([one, one, other])
    said = [[answers.Answer((1,), "x", 1.0, 0, "x")] * 2] * 3
    first, _ = _lines(["a", "b"], said, ["x", "y"], scores)
    assert first.answer == "x"
    assert first.agreement == pytest.approx(2 / 3)
    assert first.margin == pytest.approx((1 + 1 - 5) / 3)
    assert [reading.answer for reading in first.readings] == ["x", "x", "y"]


def test_what_nearly_all_get_is_nothing_to_choose() -> None:
    def said(*texts: str) -> list[answers.Answer]:
        return [answers.Answer((1,), text, 1.0, 0, text) for text in texts]

    many = said(*["the"] * 18, "Rome", "Oslo")
    assert own_answers([many, said(*["Rome"] * 10, *["Bern"] * 10)]) == ["Rome", "Bern", "Oslo"]


def test_a_model_that_says_the_same_of_all_is_shown_as_it_is(village: Model) -> None:
    home = facts("home")["Ada"]
    found = table(village, HOMES, [person for person, other in facts("home").items() if other == home])
    assert (found.answers, found.chance, len(found.lines)) == ((), None, 5)
    for line in found.lines:
        assert (line.answer, line.plain, line.agreement, line.margin, line.likeliest) == (home, home, 1.0, None, None)
    assert "Name answers with --answers FILE." in "\n".join(lines(found))


def test_a_decompilation_answers_as_its_subject(workshop: Workshop) -> None:
    people = file(workshop.root / "words.txt", "w1", "w2", "w3 w4", "w5")
    chosen = file(workshop.root / "answers.txt", "w6", "w7 w8", "w9")
    asked = ("--ask", "w2 {}", "--ask", "{} w1", "--of", people, "--answers", chosen, "--json")
    own, made = (pellucid("table", which, *asked).json for which in (workshop.subject, workshop.made))
    assert own["answers"] == ["w6", "w7 w8", "w9"]
    assert made["lines"] == own["lines"]


def test_a_strangers_program_is_run_where_it_is_trusted(workshop: Workshop) -> None:
    people = file(workshop.root / "words.txt", "w1", "w2")
    page = workshop.made / "program" / "layer_00.py"
    page.write_text(page.read_text() + "\n# by somebody else\n")
    asked = ("table", workshop.made, "--ask", "{}", "--of", people)
    assert "--trust" in pellucid(*asked).complaint()
    assert pellucid(*asked, "--trust").code == 0


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of the words w0 to w10, with a context of 16."""
    return checkpoints.write(tmp_path_factory.mktemp("table") / "subject")


def ask(subject: Path, tmp_path: Path, subjects: str = "w1\nw2\n", answers: str | None = None, *asks: str) -> Answer:
    of = tmp_path / "of.txt"
    of.write_text(subjects, encoding="utf-8")
    more = []
    if answers is not None:
        (tmp_path / "answers.txt").write_text(answers, encoding="utf-8")
        more = ["--answers", str(tmp_path / "answers.txt")]
    return pellucid("table", subject, "--of", of, *(f"--ask={one}" for one in asks or ("{} w1",)), *more)


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ("", "of.txt has 0 subjects; expected 2 or more, one a line"),
        ("w1\n", "of.txt has 1 subject; expected 2 or more"),
        ("w1\n\nw2\n", "of.txt:2: '' is blank; expected one subject a line; leave this one out"),
        ("w1\n \t\nw2\n", r"of.txt:2: ' \t' is blank"),
        ("w1\nw2 \n", "of.txt:2: 'w2 ' has blanks around it; write 'w2'"),
        ("w1\nw2\nw1\n", "of.txt:3: 'w1' stands in"),
        ("w1\nMali\n", "'Mali' cannot be asked about in '{} w1': 'Mali' is not in the vocabulary"),
        ('w1\n"w2"\n', """'"w2"' cannot be asked about in '{} w1'"""),
        ("w1\n[red]w2[/red]\n", "'[red]w2[/red]' cannot be asked about"),
        ("w1 w2\nw1\tw2\n", r"'w1 w2' and 'w1\tw2' are the same tokens to"),
        ("w1\n" + "w2 " * 16 + "w2\n", "has 18 tokens, but"),
    ],
)
def test_subjects_that_cannot_be_asked_about_are_quoted(
    subject: Path, tmp_path: Path, subjects: str, said: str
) -> None:
    assert said in ask(subject, tmp_path, subjects).complaint()


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        (("w1 w2",), "'w1 w2' has no {}, where each subject is to stand; write it as in \"{} is\""),
        (("",), "'' has no {}"),
        (("{ } w1",), "'{ } w1' has no {}"),
        (("{} w1", "{} w1"), "'{} w1' is asked twice; ask it once, or in other words"),
        (("{} Paris",), "cannot be asked about in '{} Paris': 'Paris' is not in the vocabulary"),
    ],
)
def test_wordings_that_cannot_be_asked_are_quoted(
    subject: Path, tmp_path: Path, asks: tuple[str, ...], said: str
) -> None:
    assert said in ask(subject, tmp_path, "w1\nw2\n", None, *asks).complaint()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("w3\n", "answers.txt has 1 answer; expected 2 or more, one a line"),
        ("w3\nw3\n", "answers.txt:2: 'w3' stands in"),
        ("w3\n\nw4\n", "answers.txt:2: '' is blank; expected one answer a line; leave this one out"),
        ("w3\nRome\n", "'Rome' is no answer that"),
        ("w3\n" + "w4 " * 15 + "w4\n", "and 15 behind it, but"),
    ],
)
def test_answers_that_cannot_be_given_are_quoted(subject: Path, tmp_path: Path, given: str, said: str) -> None:
    assert said in ask(subject, tmp_path, "w1\nw2\n", given).complaint()


def test_an_answer_that_no_token_begins_is_refused(village: Model) -> None:
    assert village.tokenizer.decode(answer_ids("Lane", "Ada lives in", " ", village)) == " Lane"
    with pytest.raises(PellucidError, match="no token begins the answer 'ves' behind 'Ada li': its letters flow"):
        answer_ids("ves", "Ada li", "", village)
    with pytest.raises(PellucidError, match=r"'\{\} lives in ' ends in a blank, .* leave it out at the end"):
        table(village, "{} lives in ", ["Ada", "Tom"])


def test_lists_are_checked_as_files_are(village: Model) -> None:
    with pytest.raises(PellucidError, match="subject 2: 'Ada' stands in subject 1 already; leave one"):
        table(village, HOMES, ["Ada", "Ada"])
    with pytest.raises(PellucidError, match="the list of answers has 1 answer"):
        table(village, HOMES, ["Ada", "Tom"], ["Ash Road"])
    with pytest.raises(PellucidError, match="nothing is asked"):
        table(village, [], ["Ada", "Tom"])


def test_files_of_other_programs_are_read(village: Model, tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_bytes(b"\xef\xbb\xbfAda\r\nTom\r\n\r\n")
    assert [line.key for line in table(village, HOMES, path).lines] == ["Ada", "Tom"]
    path.write_bytes(b"Ada\nT\xf6m\n")
    with pytest.raises(PellucidError, match="not text in UTF-8"):
        table(village, HOMES, path)


def test_a_file_that_is_not_there_is_named(subject: Path, tmp_path: Path) -> None:
    answer = pellucid("table", subject, "--ask", "{}", "--of", tmp_path / "none.txt")
    assert "none.txt: No such file" in answer.complaint()


# --- what is printed and written --------------------------------------------------------------------------------------

ODD = ['=HYPERLINK("http://a.b")', "-1", "@sum", "a,b", 'say "so"', "[red]x[/red]", "<b>", "tab\tbed", "two\nlines"]


def test_odd_texts_are_quoted_and_harmless(village: Model) -> None:
    found = table(village, "{} lives in", ODD)
    rows = list(csv.reader(io.StringIO(csv_text(found))))
    assert rows[0] == list(COLUMNS)
    assert [row[0] for row in rows[1:]] == [f"'{text}" if text[0] in "=-@" else text for text in ODD]
    printed = "\n".join(lines(found))
    assert "\t" not in printed
    assert r"tab\tbed" in printed
    assert r"two\nlines" in printed
    assert "[red]x[/red]" in printed
    assert len(printed.splitlines()) == 1 + len(ODD) + 3


def test_csv_holds_the_table(tmp_path: Path) -> None:
    homes = facts("home")
    people = file(tmp_path / "people.txt", *homes)
    asked = ("table", "zoo:village", "--ask", HOMES[0], "--of", people, "--csv")
    assert pellucid(*asked, tmp_path / "homes.csv").code == 0
    text = (tmp_path / "homes.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["key"]: row["answer"] for row in rows} == homes
    assert {(row["agreement"], row["chance"], row["same"], row["tie"]) for row in rows} == {
        ("1.0000", "0.0833", "true", "")
    }
    assert pellucid(*asked, "-").out == text
    assert "both print on standard output" in pellucid(*asked, "-", "--json").complaint()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_margins_below_zero_are_numbers_in_csv() -> None:
    line = TableLine("a", "x", 1.0, -0.25, "x", "x", True, None, (WordingReading("x", "x", "x", 1.0),))
    text = csv_text(AskedTable("random", ("{}",), ("x", "y"), (line,)))
    assert text.splitlines()[1] == "a,x,1.0000,-0.2500,0.5000,x,x,true,"


def test_help_says_where_ties_come_from() -> None:
    assert "pellucid accounts" in " ".join(pellucid("table", "--help").out.split())


def test_json_of_a_table_is_its_dictionary(village: Model) -> None:
    found = table(village, HOMES[0], ["Ada", "Tom"])
    data = json.loads(json.dumps(found.to_dict()))
    assert data["subject"] == "zoo:village"
    assert data["lines"][0]["readings"][0]["plain"] == facts("home")["Ada"]

"""What `benchmarks/accounts.py --stability` and `benchmarks/accounts_edited.py` count, on accounts written by hand."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from accounts_by_hand import ACCOUNT, NEXT, write_account
from cli_support import Workshop
from pellucid.accounts import measure
from pellucid.accounts.asked import TableWordings
from pellucid.accounts.find import command, fill
from pellucid.accounts.language import Table
from pellucid.accounts.lines import AskedTables
from pellucid.accounts.measure import rows_of
from pellucid.project.project import Project
from pellucid.project.trust import trust

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import accounts_domains
from accounts_edited import Edited as EditedLine
from accounts_edited import chosen, compared, program_speaks
from accounts_stability import MEASURES, Found, drawn_by, half_of, overlap

MORE = NEXT + "w6\tw8\t1.00\nw7\tw8\t1.00\nw8\tw8\t1.00\n"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "POSITIONS", {"fit": 2000, "check": 640, "heldout": 640})


def found_in(directory: Path) -> Found:
    project = Project.open(directory, trust=True)
    return Found.read(project, rows_of(project, "check"))


def changed(workshop: Workshop, account: str = ACCOUNT, table: str = NEXT) -> Path:
    """A copy of the workshop's program with other accounts, under other names."""
    path = workshop.root / "changed"
    shutil.copytree(workshop.made, path)
    folder = path / "program" / "accounts"
    (folder / "next.py").unlink()
    (folder / "tables" / "next.tsv").unlink()
    (folder / "another.py").write_text(account.replace("next.tsv", "behind.tsv"), encoding="utf-8")
    (folder / "tables" / "behind.tsv").write_text(table, encoding="utf-8")
    trust(path)
    return path


def test_accounts_overlap_wholly_with_themselves_under_other_names(workshop: Workshop) -> None:
    write_account(workshop)
    shares = overlap(found_in(workshop.made), found_in(changed(workshop)))
    assert shares == dict.fromkeys(MEASURES, 1.0) | {"asked lines": 0.0}  # nothing of it was asked


def test_a_changed_line_and_rule_count_by_the_places_where_they_speak(workshop: Workshop) -> None:
    write_account(workshop, table=MORE)
    one = found_in(workshop.made)
    other = found_in(changed(workshop, ACCOUNT.replace('return "w2"', 'return "w8"'), MORE.replace("\tw6", "\tw7")))
    shares = overlap(one, other)
    looked_up = [said for said in one.places if said and said.lines]
    speaks = [said for said in one.places if said]
    assert 0 < len(looked_up) < len(speaks)
    assert shares["same token"] == shares["same rule"] == len(looked_up) / len(speaks)
    assert shares["lines"] == 4 / 6  # all but w5, which is there once as it was and once as it is
    assert shares["tables"] == 1.0


def test_halves_share_no_row_and_seeds_draw_others(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    halves = [half_of(half)(project, "fit", 8) for half in (0, 1)]
    rows = [{tuple(row) for row in half.tolist()} for half in halves]
    assert [len(half) for half in halves] == [8, 8]
    assert not rows[0] & rows[1]
    assert drawn_by(1)(project, "fit", 8).tolist() != drawn_by(2)(project, "fit", 8).tolist()


def test_lines_that_are_edited_are_told_by_the_text_and_have_other_answers_of_their_table() -> None:
    lines = {f"k{n}": (f"k{n}", f"a{n % 3}", "yes" if n % 2 else "no") for n in range(12)}
    table = Table("t.tsv", lines, ("key", "answer", "told"))
    held = AskedTables({"t.tsv": table, "by hand.tsv": table}, {"t.tsv": TableWordings(("{} is",), {})})
    drawn = chosen(held, 4, Random(0))
    assert len({line.key for line in drawn}) == 4
    for line in drawn:
        assert line.table == "t.tsv"
        assert lines[line.key] == (line.key, line.before, "yes")
        assert line.after in {"a0", "a1", "a2"} - {line.before}


@dataclass
class Counts:
    """A program that says the token whose number is one more."""

    n_vocab: int
    n_ctx: int = 32

    def extend(self, ids: np.ndarray, cache: Any = None, last_only: bool = False) -> tuple[np.ndarray, Any]:
        logits = np.eye(self.n_vocab, dtype=np.float32)[(ids + 1) % self.n_vocab]
        return (logits[:, -1:] if last_only else logits), cache


def test_accounts_are_found_from_what_the_edited_program_says(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    known = command.read, fill.whole_answers
    with program_speaks(Counts(project.model.n_vocab)):
        place = command.read(project, "fit", 640)
        (answer,) = fill.whole_answers(project.model, [project.model.tokenizer.encode("w3")])
    assert place.own.tolist() == ((place.ids + 1) % project.model.n_vocab).tolist()
    assert answer.ids[0] == project.model.tokenizer.encode("w3")[0] + 1
    assert (command.read, fill.whole_answers) == known


def test_lines_found_anew_count_as_edited_or_as_others(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    write_account(workshop, table=MORE)
    after = changed(workshop, table=MORE.replace("w3 w4", "w9").replace("w7\tw8", "w7\tw2"))
    monkeypatch.setattr(
        "accounts_edited.read_tables", lambda _: AskedTables({}, {"next.tsv": TableWordings(("{}",), {})})
    )
    projects = [Project.open(directory, trust=True) for directory in (workshop.made, after)]
    counts = compared(projects[0], projects[1], [EditedLine("next.tsv", "w1", "w3 w4", "w9")])
    assert (counts["lines"], counts["edited"], counts["edited_right"], counts["others_changed"]) == (5, 1, 1, 1)
    assert (counts["others"], counts["left"]) == (["next.tsv w7: w8 -> w2"], [])
    counts = compared(projects[0], projects[1], [EditedLine("next.tsv", "w1", "w3 w4", "w8")])
    assert (counts["edited"], counts["edited_right"], counts["left"]) == (1, 0, ["next.tsv w1: w9"])


def test_lists_of_n_grams_hold_what_says_most_for_its_symbols() -> None:
    rows = [[1, 2, 3, 1, 2, 4]] * 10
    said = [[2, 9, 1, 2, 8, 5]] * 10
    counts = accounts_domains.counted(rows, said)
    assert counts[1][1, 2] == {9: 10, 8: 10}
    sure = accounts_domains.certain([counts[0], {}, {}], 4)  # 1 is seen 20 times, 3 and 4 only ten
    assert sure == {(1,): 2}
    found = accounts_domains.pruned(counts, 1000)
    assert accounts_domains.longest(found, [1, 2]) == accounts_domains.longest(found, [2]) == 9
    assert accounts_domains.longest(found, [3, 1, 2]) == 8
    assert accounts_domains.longest(found, [7]) is None
    assert len(accounts_domains.pruned(counts, 2)) == 1

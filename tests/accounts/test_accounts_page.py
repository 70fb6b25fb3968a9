"""The account that docs/accounts.md shows, run on the village."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

import pellucid
from pellucid.accounts.check import check
from pellucid.accounts.folder import parsed
from pellucid.accounts.language import Accounts, spelling_of
from pellucid.accounts.main import told
from pellucid.accounts.measure import likeliest, spoken
from pellucid.accounts.meter import rule_shares
from pellucid.accounts.table_command import lines as table_lines
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.zoo.village import Village

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "accounts.md").read_text(encoding="utf-8")
ACCOUNT, TABLE = re.findall(r"```(?:python)?\n(.*?)```", PAGE, re.S)[:2]
SESSION = re.findall(r'\$ python -m program.accounts "(.*?)"\n(.*?)(?=\$|```)', PAGE, re.S)


@cache
def village() -> Model:
    return Model(load_subject("zoo:village"))


def accounts(folder: Path, table: str = TABLE) -> Accounts:
    (folder / "tables").mkdir()
    (folder / "homes.py").write_text(ACCOUNT, encoding="utf-8")
    (folder / "tables" / "home.tsv").write_text(table, encoding="utf-8")
    check(parsed(folder / "homes.py"), "homes.py", village())
    return Accounts(folder, spelling_of(village().tokenizer, village().n_vocab, False))


@pytest.mark.parametrize(("text", "printed"), SESSION)
def test_the_page_shows_what_is_printed(tmp_path: Path, text: str, printed: str) -> None:
    found = accounts(tmp_path)
    assert "\n".join(told(found, village().tokenizer.opened(text))) == printed.rstrip("\n")


def test_the_page_shows_a_table_as_it_is_printed() -> None:
    asked, printed = re.findall(r"\$ pellucid table zoo:village ([^\n]*)\n(.*?)```", PAGE, re.S)[0]
    shown = printed.rstrip("\n").split("\n")
    people = [line.split()[0] for line in shown[1 : shown.index("")]]
    found = list(table_lines(pellucid.table(village(), re.findall(r'--ask "(.*?)"', asked), people)))
    margin = re.compile(r"(?<=  )\d+\.\d\d(?=  [A-Z])")
    assert [margin.sub("", line) for line in found] == [margin.sub("", line) for line in shown]
    own, told = ([float(one) for one in margin.findall("\n".join(page))] for page in (found, shown))
    assert len(own) == 5
    assert own == pytest.approx(told, abs=0.02)


def test_the_page_shows_every_case() -> None:
    assert [len(printed.splitlines()) for _, printed in SESSION] == [4, 4, 1]


def test_the_model_says_what_the_page_says(tmp_path: Path) -> None:
    found = accounts(tmp_path)
    ids = village().tokenizer.opened("Ada met Tilda. Tilda lives in Birch Lane")
    own = likeliest(village(), torch.tensor([ids]), "reading")[0].tolist()
    agree = [said.token == token for said, token in zip(found.said(ids), own, strict=True) if said]
    assert agree == [True] * 4  # B, ir, ch, Lane


def test_homes_are_right_on_stories_of_the_village(tmp_path: Path) -> None:
    homes = [fact for fact in Village().facts if fact.relation.name == "home"]
    table = "key\tanswer\n" + "".join(f"{fact.person.name}\t{fact.answer}\n" for fact in homes)
    found, tokenizer = accounts(tmp_path, table), village().tokenizer
    stories = [story.text for story in Village().stories("train", 0, 2000) if " lives in" in story.text][:40]
    rows = [row for row in map(tokenizer.opened, stories) if len(row) <= village().n_ctx]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    (share,) = rule_shares(spoken(found, ids), likeliest(village(), ids, "reading"), 1)
    assert share.n > 40
    assert share.hits >= 0.98 * share.n

"""What cannot be edited is refused in one line, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cli_support import Workshop, pellucid
from pellucid.match.project import Project

IDS = np.array([[1, 2, 4, 5, 6, 7, 8, 9]])
TWO = "expected one of --fact"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), TWO),
        (("--list", "--undo", "1"), TWO),
        (("--fact", "w1", "w2", "--forget", "w1"), TWO),
        (("--when", "w1", "--prefer", "w2"), "takes --prefer X and --over Y"),
        (("--undo", "7"), "'7' is no edit; there are none"),
        (("--undo", "x"), "'x' is no edit"),
        (("--fact", "w1", "Rome"), "'Rome' is not in the vocabulary"),
        (("--fact", "", "w2"), "is no prompt"),
        (("--suppress", "w1 w2"), "is 2 tokens"),
        (("--prefer", "w1 w2", "--over", "w3"), "is 2 tokens"),
        (("--prefer", "w3", "--over", "w3"), "preferred over itself"),
        (("--when", "Rome", "--prefer", "w3", "--over", "w4"), "'Rome' is not in the vocabulary"),
    ],
)
def test_bad_input_is_one_line(workshop: Workshop, arguments: tuple[str, ...], complaint: str) -> None:
    before = workshop.files()
    assert complaint in pellucid("edit", workshop.made, *arguments).complaint()
    after = workshop.files()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not {name for name in changed if not name.startswith(("scratch", "evidence"))}


def test_a_record_from_a_stranger_is_data(workshop: Workshop) -> None:
    folder = workshop.made / "edits"
    folder.mkdir()
    for text in ("[]", "{", json.dumps({"number": "1", "parts": []}), json.dumps({"number": 1, "parts": [], "x": 1})):
        (folder / "0001.json").write_text(text)
        assert "no record of an edit" in pellucid("edit", workshop.made, "--list").complaint()


def test_suppressed_tokens_are_less_likely_where_they_were_likely(workshop: Workshop) -> None:
    before = Project.open(workshop.made).program().logits(IDS)
    answer = pellucid("edit", workshop.made, "--suppress", "w3", "--anyway", "--json")
    assert answer.code == 0, answer.err
    record = answer.json["record"]
    assert record["parts"] == ["L01.MLP.B"]
    assert pellucid("edit", workshop.made, "--list").out.startswith("0001")
    after = Project.open(workshop.made).program().logits(IDS)
    was, now = (logits[..., 3] - logits.mean(-1) for logits in (before, after))
    likely = was > np.median(was)  # where it is unlikely as it is, the norm behind may raise what is left of it
    assert (now < was)[likely].all()
    assert now.max() < was.max()
    assert pellucid("edit", workshop.made, "--undo", "0001").code == 0
    assert not (workshop.made / "program" / "edits.py").exists()


def test_dry_run_writes_nothing(workshop: Workshop) -> None:
    answer = pellucid("edit", workshop.made, "--suppress", "w3", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["record"] is None
    assert answer.json["prediction"]["positions"] >= 0
    assert not (workshop.made / "edits").exists()

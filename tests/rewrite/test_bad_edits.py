"""What cannot be edited is refused in one line, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cli_support import Workshop, pellucid
from pellucid.project.project import Project

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
        (("--fact", "w0", "w2"), "'w0' is no prompt: where a text ends"),
        (("--forget", ""), "'' is no prompt"),
        (("--commit", ""), "'' is not an address"),
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
    good = {"number": 1, "kind": "rule", "what": "", "why": "", "date": "", "parts": ["L00.LN1"]}
    for text, said in (
        ("[]", "expected an object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(good | {"number": "1"}), "number is '1', expected a valid integer"),
        (json.dumps(good | {"parts": [5]}), "parts[0] is 5, expected a valid string"),
        (json.dumps(good | {"located": {}}), "located is {}, expected a valid array"),
        (json.dumps(good | {"x": 1}), "x is no entry that is known here"),
    ):
        (folder / "0001.json").write_text(text)
        complaint = pellucid("edit", workshop.made, "--list").complaint()
        assert "0001.json: " in complaint
        assert said in complaint
    (folder / "0001.json").write_text(json.dumps(good))
    assert pellucid("edit", workshop.made, "--list").code == 0


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

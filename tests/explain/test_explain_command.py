"""`pellucid explain`, from rules to readers' answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli_support import Workshop, pellucid

PARTS = ("L00.H00", "L01.N0003", "L00.N0005")


def requests(at: Workshop, *more: str) -> list[dict[str, Any]]:
    path = at.root / "requests.jsonl"
    assert pellucid("explain", at.made, *PARTS, "--write", path, *more).code == 0
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answer(at: Workshop, answers: dict[str, Any], *more: str) -> Any:
    path = at.root / "answers.jsonl"
    path.write_text("".join(json.dumps({"custom_id": id, "content": one}) + "\n" for id, one in answers.items()))
    return pellucid("explain", at.made, "--read", path, "--by", "Ann", *more)


def test_parts_are_explained_scored_and_shown(workshop: Workshop) -> None:
    found = pellucid("explain", workshop.made, *PARTS, "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert set(told["parts"]) == set(PARTS)
    for one in told["parts"].values():
        assert one["told"][0]["by"] == "rule"
        assert set(one["told"][0]["scores"]) == {"simulation", "detection", "fuzzing", "intruder", "surprisal"}
        assert one["told"][0]["scores"]["surprisal"] is None
    shown = pellucid("show", workshop.made, "L01.N0003.IN").out
    assert told["parts"]["L01.N0003"]["told"][0]["text"][:40] in " ".join(shown.split())
    again = json.loads(pellucid("explain", workshop.made, *PARTS, "--json").out)
    assert again == told


def test_readers_explain_and_mark_through_files(workshop: Workshop) -> None:
    asked = requests(workshop)
    assert [one["custom_id"].split("/")[1:] for one in asked] == [["explain", part] for part in PARTS]
    assert all("«" in one["body"]["messages"][1]["content"] for one in asked)
    texts = [f"Fires on <b>thing</b> {n}." for n in range(3)]
    answers = dict(zip((one["custom_id"] for one in asked), ({"explanation": text} for text in texts), strict=True))
    assert "3 explanations and 0 marks taken" in answer(workshop, answers).err

    marks = requests(workshop, "--score")
    kinds = {tuple(one["custom_id"].split("/")[1:3:2]) for one in marks}
    assert kinds <= {("detect",), ("fuzz",)} or kinds
    swapped = [one for one in marks if one["custom_id"].endswith("/swapped")]
    assert swapped
    assert all("Fires on <b>thing</b>" in one["body"]["messages"][1]["content"] for one in marks)
    found = answer(workshop, {one["custom_id"]: {"numbers": [1]} for one in marks}, "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    scores = [one["told"][-1]["scores"] for one in told["parts"].values()]
    assert any(score.get("detection, read") is not None for score in scores)
    assert told["means"]["neurons"]["scores"]["Ann"]["detection, read"] is not None


def test_answers_of_another_shape_are_counted_and_left(workshop: Workshop) -> None:
    asked = requests(workshop)
    found = answer(workshop, {asked[0]["custom_id"]: "It fires.", asked[1]["custom_id"]: {"explanation": "Yes."}})
    assert found.code == 0
    assert "1 explanations and 0 marks taken" in found.err
    assert f"1 answers have another shape than was asked for, such as that to {asked[0]['custom_id']}" in found.err


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("0123456789ab/explain/L00.H00", "the answers are another project's"),
        ("{own}/explain/L99.H00", "there is no L99.H00"),
        ("{own}/detect/L00.H00/01234567", "was not asked; write requests with --write"),
        ("{own}", "was not asked"),
        ("../../etc/passwd", "the answers are another project's"),
    ],
)
def test_answers_to_what_was_not_asked_are_refused(workshop: Workshop, id: str, said: str) -> None:
    own = requests(workshop)[0]["custom_id"].split("/")[0]
    found = answer(workshop, {id.replace("{own}", own): {"explanation": "x"}})
    assert found.code == 2
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("L00.H99",), "there is no L00.H99"),
        (("--score",), "--score goes with --write"),
        (("--endpoint", "http://localhost:1"), "--endpoint and --model go together"),
        (("--endpoint", "nowhere", "--model", "m"), "is no endpoint"),
        (("--read", "a", "--write", "b"), "expected one of --write, --read and --endpoint"),
    ],
)
def test_what_cannot_be_is_one_line(workshop: Workshop, arguments: tuple[str, ...], said: str) -> None:
    found = pellucid("explain", workshop.made, *arguments)
    assert found.code == 2
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1

"""Questions for readers, and the marks for their answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from accounts_by_hand import write_account
from cli_support import Workshop, pellucid
from pellucid.accounts import endings, measure
from pellucid.accounts.asked import write
from pellucid.accounts.endings import LEAST, SENTENCES, cut
from pellucid.accounts.questions import CHOICE, STAGE, Prompt, _about, _ranked
from pellucid.engine.intervene import ablate
from pellucid.engine.trace import trace
from pellucid.exact.model import Model
from pellucid.project.project import Project


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "POSITIONS", {"fit": 2000, "check": 640, "heldout": 640})
    monkeypatch.setattr(endings, "SURE", 0.0)  # a random model never is


def drawn(workshop: Workshop, name: str = "questions.jsonl", *more: object) -> list[dict[str, Any]]:
    path = workshop.root / name
    answer = pellucid("readers", workshop.made, "-n", 12, "-o", path, *more)
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answered(workshop: Workshop, answers: dict[str, Any]) -> Path:
    path = workshop.root / "answers.jsonl"
    path.write_text("".join(json.dumps({"id": id, "answer": given}) + "\n" for id, given in answers.items()))
    return path


def truth(workshop: Workshop) -> dict[str, Any]:
    stored = Project.open(workshop.made).evidence.latest(STAGE)
    assert stored is not None
    found: dict[str, Any] = json.loads(stored)
    return found


def test_the_truth_is_what_the_model_does(workshop: Workshop) -> None:
    questions, right = drawn(workshop), truth(workshop)
    model = Project.open(workshop.made).model
    following = [question for question in questions if question["kind"] == "next"]
    assert len(following) == 9
    for question in following:
        token = int(model.logits(model.tokenizer.opened(question["text"]))[0, -1].argmax())
        assert right[question["id"]]["answer"] == model.tokenizer.decode([token])
    heads = [question for question in questions if question["kind"] == "changes"]
    assert len(heads) == 3
    for question in heads:
        silence = [ablate(f"{question['silenced']}.OV")]
        changed = []
        for number, text in enumerate(question["prompts"], start=1):
            ids = model.tokenizer.opened(text)
            own, silenced = (trace(model, [ids], changes=made).logits[0, -1].argmax() for made in ([], silence))
            changed += [number] if own != silenced else []
        assert right[question["id"]]["answer"] == changed
        assert 0 < len(changed) <= CHOICE // 2


def test_prompts_that_change_stand_anywhere_among_the_others() -> None:
    pool = [Prompt(str(at), [at], hard=False) for at in range(64)]
    changed = [at in (5, 60) for at in range(64)]
    answers = [
        _about("L00.H00", pool, changed, torch.Generator().manual_seed(seed))[1]["answer"] for seed in range(200)
    ]
    assert all(len(answer) == 2 for answer in answers)
    often = torch.tensor(answers).flatten().bincount(minlength=CHOICE + 1)[1:]
    assert 25 <= int(often.min()) <= int(often.max()) <= 75  # 50 each, with a deviation of 6


def test_lines_of_tables_that_were_asked_are_asked_about(workshop: Workshop) -> None:
    write_account(workshop)
    project = Project.open(workshop.made)
    model = project.model

    def next_of(text: str) -> str:
        return model.tokenizer.decode([int(model.logits(model.tokenizer.opened(text))[0, -1].argmax())])

    keys = [f"w{number}" for number in range(1, 11)]
    answers = {key: next_of(f"w2 {key}") for key in keys}
    assert len({*answers.values()}) > 1
    asks = ["w2 {}", "w3 w4 {}", "w5 {} w6"]
    write(project, "next.tsv", asks, answers)
    asked = [question for question in drawn(workshop) if "table" in question]
    assert len(asked) == 1  # of three about changes
    (question,) = asked
    key, other = question["key"], question["instead"]
    assert question["asks"].startswith(f"If the model's answer for '{key}' in next.tsv were '{other}', behind which")
    assert other != answers[key]
    own = {ask.replace("{}", key) for ask in asks}
    right = truth(workshop)[question["id"]]["answer"]
    changed = [
        number
        for number, text in enumerate(question["prompts"], start=1)
        if text in own and next_of(text) == answers[key]
    ]
    assert right == changed
    assert 0 < len(changed) <= CHOICE // 2 < len(question["prompts"]) <= CHOICE
    others = [text for number, text in enumerate(question["prompts"], start=1) if number not in changed]
    asked_of_others = {ask.replace("{}", one) for ask in asks for one in keys if one != key}
    assert all(text in asked_of_others or next_of(text) != answers[key] for text in others)


def test_questions_stand_at_hard_positions_that_end_unlike(workshop: Workshop) -> None:
    questions = [question for question in drawn(workshop) if question["kind"] == "next"]
    assert sum(entry.get("hard", False) for entry in truth(workshop).values()) == len(questions) == 9
    encode = Project.open(workshop.made).model.tokenizer.encode
    assert len({tuple(encode(question["text"])[-3:]) for question in questions}) == 9


def shares_behind(model: Model, ids: list[int]) -> torch.Tensor:
    return model.logits([*model.tokenizer.opening, *ids])[0, -1].softmax(-1)


def test_a_prompt_is_cut_to_the_sentences_that_decide(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "STOP", re.compile("w[1-4]$"))  # sentences end in these
    model, generator = Project.open(workshop.made).model, torch.Generator().manual_seed(3)
    for _ in range(100):  # until some ends are too short, and some are not
        ids = torch.randint(model.n_vocab - 1, (15,), generator=generator).tolist()
        stops = [
            at for at in range(1, len(ids) - LEAST + 1) if endings.STOP.search(model.tokenizer.decode([ids[at - 1]]))
        ]
        tried = [ids[at:] for at in stops[-SENTENCES:]]
        own, found = shares_behind(model, ids), [shares_behind(model, end) for end in tried]
        same = [int(shares.argmax()) == int(own.argmax()) for shares in found]
        count = same.index(False) if False in same else len(same)
        if 0 < count < len(same):
            break
    else:
        pytest.fail("no text has ends of both kinds")
    whole = Prompt.of(model, model.tokenizer.decode(ids))
    (end,) = cut(model, [whole])
    assert end.ids == [*model.tokenizer.opening, *tried[count - 1]]
    monkeypatch.setattr(endings, "SURE", float(found[count - 1].max()) + 1e-4)
    for one in cut(model, [whole]):  # it is not as sure of it behind this end
        assert len(one.ids) > len(end.ids)
    monkeypatch.setattr(endings, "SURE", float(own.max()) + 1e-4)
    assert cut(model, [whole]) == []  # nor behind the whole


def test_kinds_of_hard_positions_have_three_questions_each() -> None:
    ends = [1] * 40 + [2] * 30 + [3] * 4 + [4] * 2 + [5]
    places = [Prompt(str(at), [at, end], hard=end != 2) for at, end in enumerate(ends)]
    chosen = _ranked(places, 12)[:12]
    assert [place.ids[-1] for place in chosen] == [1, 1, 1, 3, 3, 3, 4, 4, 5, 1, 1, 1]
    assert len({place.text for place in chosen}) == 12
    assert [place.text for place in _ranked(places[38:44], 5)][:5] == ["38", "39", "40", "41", "42"]  # then others


def test_places_that_end_alike_are_asked_about_once() -> None:
    alike = [Prompt(str(at), [at, 7, 8, 9], hard=True) for at in range(5)]
    others = [Prompt(f"other {at}", [0, at, 8, 9], hard=True) for at in range(3)]
    ranked = [place.text for place in _ranked([*alike, *others], 4)]
    assert ranked[:4] == ["0", "other 0", "other 1", "other 2"]
    assert len(ranked) == 8  # the others come where there are too few


def test_questions_hold_nothing_of_the_truth_and_of_the_accounts(workshop: Workshop) -> None:
    before = drawn(workshop)
    assert {key for question in before for key in question} == {"id", "kind", "asks", "text", "silenced", "prompts"}
    write_account(workshop)
    assert drawn(workshop, "again.jsonl") == before
    assert drawn(workshop, "other.jsonl", "--seed", 1) != before


def test_answers_are_marked_beside_the_commonest(workshop: Workshop) -> None:
    drawn(workshop)
    right = truth(workshop)
    whole = {id: entry["answer"] for id, entry in right.items()}
    marks = pellucid("readers", workshop.made, "--score", answered(workshop, whole), "--json").json
    assert (marks["questions"], marks["answered"]) == (12, 12)
    assert marks["next"]["all"]["right"]["value"] == 1
    assert marks["changes"]["balanced"] == 1
    following = [entry["answer"] for entry in right.values() if entry["kind"] == "next"]
    most = max(map(following.count, following))
    assert marks["next"]["all"]["majority"]["value"] == pytest.approx(most / 9)
    some = {id: [] if isinstance(given, list) else f" {given} " for id, given in whole.items()}
    marks = pellucid("readers", workshop.made, "--score", answered(workshop, some), "--json").json
    assert marks["next"]["all"]["right"]["value"] == 1
    assert marks["changes"]["balanced"] == marks["changes"]["majority"] == 0.5
    one = dict(list(whole.items())[:1])
    assert pellucid("readers", workshop.made, "--score", answered(workshop, one)).out.startswith("1 of 12 questions")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no answers"),
        ('{"id": "none-001", "answer": "w1"}', "'none-001' is no question that was drawn for"),
        ('{"id": "ID", "answer": "w1"}\n{"id": "ID-9", "answer": "w1"}', "is no question of this set"),
        ('{"id": "ID", "answer": "w1"}\n{"id": "ID", "answer": "w2"}', "answers.jsonl:2: .* is answered already"),
        ('{"id": "ID", "answer": 1.5}', "answers.jsonl:1"),
        ("nonsense", "answers.jsonl:1"),
    ],
)
def test_what_is_no_answer_is_bad_input(workshop: Workshop, text: str, reason: str) -> None:
    first = drawn(workshop)[0]["id"]
    path = workshop.root / "answers.jsonl"
    path.write_text(text.replace("ID-9", f"{first}9").replace("ID", first))
    complaint = pellucid("readers", workshop.made, "--score", path).complaint()
    assert re.search(reason, complaint), complaint


def test_questions_are_drawn_or_answers_marked(workshop: Workshop) -> None:
    assert "expected either -o" in pellucid("readers", workshop.made).complaint()
    drawn(workshop)
    again = pellucid("readers", workshop.made, "-o", workshop.root / "questions.jsonl")
    assert "is there already" in again.complaint()

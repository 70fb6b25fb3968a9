"""A fact of the village is edited where it is computed, as predicted, and undone without a trace."""

from __future__ import annotations

import pytest
import torch

from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import edits_of
from pellucid.listing.edits import read_edits
from pellucid.rewrite.apply import apply, predicted, undo
from pellucid.rewrite.donors import takers
from pellucid.rewrite.edit import read_records
from pellucid.rewrite.intent import fact, forget
from pellucid.rewrite.workbench import Workbench

OTHERS = ("Ada keeps a", "Boris lives in", "As for Ada, the favourite food is")
"""Said of the same person in other relations, and of another in the same one."""
WORDINGS = ("The home of Ada is in", "It was Monday. They say that the home of Ada is in", "Ada's home is in")


def said(bench: Workbench, prompt: str, tokens: int = 3) -> str:
    """What the program itself goes on with."""
    ids = bench.model.ids(prompt)[0].tolist()
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(bench.measured(torch.tensor([ids]))[0, -1].argmax()))
    return bench.model.tokenizer.decode(ids[start:])


def test_a_fact_is_edited_in_every_wording_and_undone(village: Workbench) -> None:
    directory = village.program.directory
    before = village.measured(village.check.ids[:8])
    neighbours = {prompt: said(village, prompt) for prompt in OTHERS}
    assert said(village, "Ada lives in") != " Oak Street"
    proposal = fact(village, "Ada lives in", "Oak Street")
    assert proposal.parts == ("L02.H00.OV",)
    assert not proposal.inserted
    ready = predicted(village, proposal)
    assert not ready.doubts
    assert not read_records(directory)  # nothing is written before it is made
    record = apply(village, ready)
    assert all(said(village, prompt) == " Oak Street" for prompt in ("Ada lives in", *WORDINGS))
    assert {prompt: said(village, prompt) for prompt in OTHERS} == neighbours
    measured = record.measurement
    assert measured is not None
    assert measured["correlation"] > 0.95
    assert measured["surprises"] == 0
    # the engine runs the same program
    ids = village.check.ids[:8]
    engine = village.model.run(ids, ("logits",), edits=dict(edits_of(village.subject, ids)))["logits"]
    torch.testing.assert_close(engine.detach(), village.measured(ids), rtol=1e-4, atol=1e-4)
    # so does a program that is loaded anew, and the page says what and why
    assert village.project.generate("Ada lives in", 2).startswith(" Oak")
    page = read_edits(directory / "program")
    assert page is not None
    (statement,) = page.of(record.number)
    assert "'Ada lives in' 'Oak Street'" in (statement.docstring or "")
    with pytest.raises(PellucidError, match=r"edit 0001 speaks here already.*Asked for now"):
        predicted(village, fact(village, "Ada lives in", "Elm Lane"))
    undo(directory, ["1"])
    village.program.edited()
    assert torch.equal(village.measured(village.check.ids[:8]), before)
    with pytest.raises(PellucidError, match="was undone"):
        undo(directory, ["1"])


def test_edits_compose_and_each_is_undone_alone(village: Workbench) -> None:
    directory = village.program.directory
    was = said(village, "Hugo likes to wear", 1)
    asked = {"Hugo likes to wear": "brown", "Petra plays the": "harp", "Boris is afraid of": "fire"}
    records = [apply(village, predicted(village, fact(village, p, a)), anyway=True) for p, a in asked.items()]
    for prompt, answer in asked.items():
        assert said(village, prompt).startswith(f" {answer}")
    undo(directory, [str(records[0].number)])
    village.program.edited()
    assert said(village, "Hugo likes to wear", 1) == was
    assert said(village, "Petra plays the").startswith(" harp")
    undo(directory, [str(record.number) for record in records[1:]])
    village.program.edited()
    assert not (directory / "program" / "edits.py").exists()


def test_what_is_forgotten_is_not_said(village: Workbench) -> None:
    was = said(village, "Ada lives in")
    record = apply(village, predicted(village, forget(village, "Ada lives in")), anyway=True)
    assert said(village, "Ada lives in") != was
    undo(village.program.directory, [str(record.number)])
    village.program.edited()
    assert said(village, "Ada lives in") == was


def test_a_head_that_knows_is_told_from_those_that_ask(village: Workbench) -> None:
    for prompt in ("Georg keeps a", "Hanna is afraid of", "Simon is afraid of"):
        ids = village.model.ids(prompt)
        says = int(village.measured(ids)[0, -1].argmax())
        found = takers(village, ids, says)
        texts = village.texts(ids[0].tolist())
        assert texts[found[0].looks_at] in prompt.split()[0]  # the head that looks at the name, whatever it is
        others = [taker for taker in found if texts[taker.looks_at] not in prompt.split()[0]]
        assert others  # there are such that look at the question
        assert found[0].share > 0.25
        assert found[0].tells > max(taker.tells for taker in others)


def test_what_is_said_already_and_what_is_no_text_are_refused(village: Workbench) -> None:
    answer = said(village, "Ada lives in").strip()
    with pytest.raises(PellucidError, match="already says"):
        fact(village, "Ada lives in", answer)
    for prompt, text in (("", "Rome"), ("  ", "Rome"), ("<|endoftext|>", "Rome"), ("<|endoftext|>" * 2, "Rome")):
        with pytest.raises(PellucidError, match="is no prompt"):
            fact(village, prompt, text)
    with pytest.raises(PellucidError, match="is no answer"):
        fact(village, "Ada lives in", " ")
    with pytest.raises(PellucidError, match="reads 128"):
        fact(village, "Ada lives in " * 60, "Rome")


def test_prediction_never_runs_the_edited_program(village: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = fact(village, "Ada keeps a", "cat" if "cat" not in said(village, "Ada keeps a") else "parrot")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the program was run")

    monkeypatch.setattr(village.program.model, "extend", refuse)
    ready = predicted(village, proposal)
    assert ready.proposal.margin > 1  # it is predicted to say so at the prompt and wherever it was tuned
    assert not village.program.model.plan.changes.moves  # and it holds no edit while predictions are made

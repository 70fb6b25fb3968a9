"""A program is compared with models of the same tokens alone, however long the texts are that these read."""

from __future__ import annotations

import json

import checkpoints
from accounts_by_hand import write_account
from cli_support import Workshop, pellucid


def test_a_model_of_more_tokens_is_refused(workshop: Workshop) -> None:
    other = checkpoints.write(workshop.root / "other", checkpoints.hugging_face(vocab_size=13))
    said = pellucid("diff", workshop.made, "--against", other).complaint()
    assert "has another vocabulary (13 tokens, the program has 11)" in said


def test_a_model_of_other_tokens_is_refused(workshop: Workshop) -> None:
    other = checkpoints.write(workshop.root / "other")
    task = json.loads((other / "task.json").read_text())
    task["vocab"][4], task["vocab"][5] = task["vocab"][5], task["vocab"][4]
    (other / "task.json").write_text(json.dumps(task))
    said = pellucid("diff", workshop.made, "--against", other).complaint()
    assert "has another vocabulary (token 4 is 'w5' there, 'w4' in the program)" in said


def test_a_model_that_reads_less_text_is_compared_on_that(workshop: Workshop) -> None:
    other = checkpoints.write(workshop.root / "other", checkpoints.hugging_face(seed=1, n_positions=8))
    found = pellucid("diff", workshop.made, "--against", other, "--json").json
    assert found["changed"]["overall"]["changed"] > 0
    assert found["totals"]["overall"]["kl"]["value"] > 0


def test_a_program_of_another_subject_is_compared_by_what_it_says(workshop: Workshop) -> None:
    other = checkpoints.write(workshop.root / "other", checkpoints.hugging_face(seed=1))
    made = workshop.root / "there"
    answer = pellucid("decompile", other, "-o", made, "--corpus", workshop.text, "--quick", "--raw")
    assert answer.code == 0, answer.err
    write_account(workshop)
    found = pellucid("diff", workshop.made, "--against", made, "--json").json
    assert found["changed"]["overall"]["changed"] > 0
    assert found["parts"] == []
    assert {(entry["kind"], entry["before"]) for entry in found["accounts"]["differing"]} == {
        ("table", None),
        ("rule", None),
    }

"""A program is compared with models of the same tokens alone, however long the texts are that these read."""

from __future__ import annotations

import json

import checkpoints
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

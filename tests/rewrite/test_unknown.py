"""An edit of what the program does not know, or of somebody of whom no text tells, is refused before it is made."""

from __future__ import annotations

import pytest

from pellucid.base.errors import PellucidError
from pellucid.rewrite.apply import apply, predicted
from pellucid.rewrite.edit import read_records
from pellucid.rewrite.intent import fact
from pellucid.rewrite.show import proposal_lines, ready_lines
from pellucid.rewrite.workbench import Workbench


@pytest.mark.parametrize(
    ("prompt", "doubt"),
    [
        ("Bob lives in", "it speaks at none of"),  # answered surely, of a name that no text has
        ("The capital of France is", "the program does not know it: behind the prompt it says "),
        ("Zorblax lives in", "predicted changes are where something else is asked"),  # looks at the question alone
    ],
)
def test_what_is_not_known_is_doubted_and_refused(village: Workbench, prompt: str, doubt: str) -> None:
    ready = predicted(village, fact(village, prompt, "Oak Street"))
    assert any(doubt in one for one in ready.doubts), ready.doubts
    with pytest.raises(PellucidError, match=r"behind the prompt it says .* now.*or --anyway"):
        apply(village, ready)
    assert not read_records(village.program.directory)


def test_what_is_said_now_is_told_before(village: Workbench) -> None:
    proposal = fact(village, "Ada lives in", "Oak Street")
    assert proposal.now[0].token == " Pine"
    assert proposal.now[0].probability > 0.99
    ready = predicted(village, proposal)
    figures = ready.to_dict(village)
    assert figures["now"][0]["token"] == " Pine"
    shown = "\n".join((*proposal_lines(proposal, ""), *ready_lines(ready, figures)))
    assert "behind the prompt it says now: ' Pine' (100.0%)" in shown

"""Reading a token as another: exactly what the program does on the text with the other token, and nothing else."""

from __future__ import annotations

import pytest
import torch

from cli_support import Workshop, pellucid
from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import edits_of
from pellucid.program.changes import BEFORE
from pellucid.rewrite.apply import apply, predicted, undo
from pellucid.rewrite.read import read
from pellucid.rewrite.rules import suppress
from pellucid.rewrite.workbench import Workbench

TEXT = "Today the dog near the barn is cold. Ada was sick, so she went home."


def test_it_is_what_the_program_says_of_the_other_text(village: Workbench) -> None:
    directory = village.program.directory
    ids = village.model.ids(TEXT)
    other = village.model.ids(TEXT.replace("near", "behind"))
    before, wanted = village.measured(ids), village.measured(other)
    assert (before - wanted).abs().max() > 0.1
    ready = predicted(village, read(village, " near", " behind"))
    assert not ready.doubts
    assert ready.forecast.speaks > 0
    record = apply(village, ready)
    assert record.measurement is not None
    assert record.measurement["correlation"] > 0.999999
    assert record.measurement["surprises"] == record.measurement["false_alarms"] == 0
    torch.testing.assert_close(village.measured(ids), wanted, rtol=1e-4, atol=1e-4)
    untouched = village.model.ids("Ada lives in")
    torch.testing.assert_close(village.measured(untouched), village.model.logits(untouched), rtol=1e-4, atol=1e-4)
    # the engine runs the same program, and so does one that goes on token by token
    engine = village.model.run(ids, ("logits",), edits=dict(edits_of(village.subject, ids)))["logits"]
    torch.testing.assert_close(engine, village.measured(ids), rtol=1e-4, atol=1e-4)
    said = village.project.generate("Today the dog near the", 4)
    assert said == village.project.generate("Today the dog near the", 4)
    steps, cache = [], None
    for token in ids[0].tolist():
        logits, cache = village.program.extend(torch.tensor([[token]]).numpy(), cache)
        steps.append(torch.from_numpy(logits[:, 0]))
    torch.testing.assert_close(torch.stack(steps, 1), village.measured(ids), rtol=1e-3, atol=1e-3)
    with pytest.raises(PellucidError, match=r"edit 0001 speaks here already.*Asked for now"):
        predicted(village, read(village, " near", " beside"))
    undo(directory, [str(record.number)])
    village.program.edited()
    assert torch.equal(village.measured(ids), before)


def test_it_composes_with_what_is_said(village: Workbench) -> None:
    first = apply(village, predicted(village, read(village, " sick", " tired")))
    second = apply(village, predicted(village, suppress(village, [" dirty"])), anyway=True)
    assert len(village.program.model.plan.changes.writes[BEFORE]) == 1
    undo(village.program.directory, [str(first.number)])
    village.program.edited()
    assert BEFORE not in village.program.model.plan.changes.writes
    undo(village.program.directory, [str(second.number)])
    village.program.edited()


def test_what_is_no_pair_of_tokens_is_refused(village: Workbench) -> None:
    with pytest.raises(PellucidError, match="read as itself"):
        read(village, " near", " near")
    with pytest.raises(PellucidError, match="expected one"):
        read(village, " near the", " behind")


def test_the_command_line_reads_and_undoes(workshop: Workshop) -> None:
    plain = pellucid("run", workshop.made, "w1 w2 w3", "--tokens", "4").out
    other = pellucid("run", workshop.made, "w1 w5 w3", "--tokens", "4").out
    made = pellucid("edit", workshop.made, "--read", "w2", "w5")
    assert made.code == 0, made.err
    assert "Reads 'w2' as if 'w5' stood there." in made.out
    assert "def is_w2(place)" in (workshop.made / "program" / "edits.py").read_text()
    assert pellucid("run", workshop.made, "w1 w2 w3", "--tokens", "4").out.split()[3:] == other.split()[3:]
    shown = pellucid("why", workshop.made, "w1 w2 w3")
    assert shown.code == 0, shown.err
    assert "EMB.TOK" in pellucid("diff", workshop.made).out
    assert pellucid("edit", workshop.made, "--undo", "1").code == 0
    assert pellucid("run", workshop.made, "w1 w2 w3", "--tokens", "4").out == plain

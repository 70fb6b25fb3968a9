"""The engine runs a program as the program runs itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cli_support import Workshop, pellucid
from pellucid import ablate, logit_difference, open_subject, sweep, trace
from pellucid.base.errors import ProjectError
from pellucid.exact.model import Model
from pellucid.match.project import Project
from pellucid.match.running import Running, running

IDS = torch.randint(1, 11, (3, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("source_only", [None, "code"])
def test_logits_are_the_programs(workshop: Workshop, source_only: str | None) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    project = Project.open(workshop.made)
    program = project.program(source_only)  # type: ignore[arg-type]
    found = running(project.model, program)
    assert isinstance(found, Running if source_only else Model)
    wanted = torch.from_numpy(program.logits(IDS.numpy()))
    torch.testing.assert_close(trace(found, IDS).logits, wanted, rtol=1e-4, atol=1e-4)
    if source_only:
        assert not torch.allclose(wanted, project.model.logits(IDS), atol=1e-2)
        pattern = trace(found, IDS, ["L00.pattern"])["L00.pattern"][:, 1]
        assert bool((pattern.diagonal(-1, 1, 2)[:, 1:] > 0.9).all())
        changed = trace(found, IDS, changes=[ablate("L01.H00.OV")]).logits
        assert not torch.allclose(changed, wanted, atol=1e-3)
        swept = sweep(found, IDS, IDS.roll(1, 1), logit_difference(project.model, 3, 5), "z")
        assert bool(swept.values.isfinite().all())


def test_a_directory_or_a_subject_opens(workshop: Workshop) -> None:
    assert isinstance(open_subject(str(workshop.subject)), Model)
    assert isinstance(open_subject(str(workshop.made)), Model)
    with pytest.raises(ProjectError, match="is no directory of a program"):
        open_subject(str(workshop.subject), source_only=True)


def test_why_speaks_of_subjects_and_programs(workshop: Workshop, tmp_path: Path) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    plain = pellucid("why", workshop.subject, "w1 w2 w3", "--top", "4")
    assert plain.code == 0
    assert len(plain.out.splitlines()) == 6
    found = pellucid("why", workshop.made, "w1 w2 w3", "--source-only", "--json", "--html", tmp_path / "w.html")
    assert found.json["prompt"] == "w1 w2 w3"
    assert (tmp_path / "w.html").read_text().startswith("<!doctype html>")
    assert "'w1 w2' is 2 tokens" in pellucid("why", workshop.subject, "w3", "--instead", "w1 w2").complaint()
    complaint = pellucid("why", workshop.subject, "w3", "--source-only").complaint()
    assert "is no directory of a program" in complaint

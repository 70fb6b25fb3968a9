"""Edits by hand: a changed source refines until it is recorded, and then its part is raw + (source − base)."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from cli_support import Workshop, own_work, pellucid
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.verify.running import Running

IDS = torch.randint(1, 11, (3, 12), generator=torch.Generator().manual_seed(2))
ADDRESS = "L00.H01.QK"


def logits(directory: Path) -> torch.Tensor:
    return torch.from_numpy(Project.open(directory).program().logits(IDS.numpy()))


def as_before(workshop: Workshop) -> Path:
    """A copy of the directory as it is now."""
    copy = workshop.root / "before"
    shutil.copytree(workshop.made, copy)
    trust(copy)
    return copy


def test_a_source_in_the_place_of_weights_becomes_an_edit(workshop: Workshop) -> None:
    plain = logits(workshop.made)
    workshop.source(ADDRESS, "return 6.0 * (key.position == query.position - 1)")
    assert torch.equal(logits(workshop.made), plain)  # a refinement: the residual makes up for it
    (part,) = pellucid("diff", workshop.made, "--json").json["parts"]
    assert (part["address"], part["status"]) == (ADDRESS, "refinement")
    answer = pellucid("edit", workshop.made, "--commit", ADDRESS, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["kind"] == "hand"
    assert answer.json["measurement"]["kl"] > 0
    edited = logits(workshop.made)
    assert not torch.allclose(edited, plain, atol=1e-2)
    project = Project.open(workshop.made)
    pattern = Running(project.model, project.program()).model.run(IDS, ("L00.pattern",))["L00.pattern"][:, 1]
    assert bool((pattern.diagonal(-1, 1, 2)[:, 1:] > 0.9).all())  # the source alone: raw + (source − raw)
    (part,) = pellucid("diff", workshop.made, "--json").json["parts"]
    assert (part["status"], part["edit"]) == ("edit", 1)
    assert "is edit 1 already" in pellucid("edit", workshop.made, "--commit", ADDRESS).complaint()
    assert pellucid("edit", workshop.made, "--undo", "1").code == 0
    assert torch.equal(logits(workshop.made), plain)
    assert f'raw("{ADDRESS}")' in (workshop.made / "program" / "layer_00.py").read_text()
    assert pellucid("edit", workshop.made, "--list", "--json").json[0]["undone"]


def test_a_changed_source_changes_its_part_by_what_was_changed(workshop: Workshop) -> None:
    plain = logits(workshop.made)
    workshop.source(ADDRESS, "return HEIGHT * near(query, key)")
    page = workshop.made / "program" / "layer_00.py"
    helper = "HEIGHT = 6.0\n\n\ndef near(query, key):\n    return key.position == query.position - 1\n\n\n"
    with own_work(workshop.made):
        page.write_text(page.read_text().replace(f'@source("{ADDRESS}")', f'{helper}@source("{ADDRESS}")'))
    before = as_before(workshop)
    workshop.edit("program/layer_00.py", "HEIGHT * near(query, key)", "HEIGHT * near(query, key) + 0.0")
    answer = pellucid("edit", workshop.made, "--commit", ADDRESS, "--against", before)
    assert answer.code == 0, answer.err
    torch.testing.assert_close(logits(workshop.made), plain, rtol=1e-4, atol=1e-4)  # nothing but the difference
    workshop.edit("program/layer_00.py", "HEIGHT * near(query, key) + 0.0", "2.0 * HEIGHT * near(query, key)")
    changed = logits(workshop.made)
    assert not torch.allclose(changed, plain, atol=1e-3)
    project = Project.open(workshop.made)
    running = Running(project.model, project.program())
    engine = running.model.run(IDS, ("logits",), edits=running.edits(IDS))["logits"]
    torch.testing.assert_close(engine, changed, rtol=1e-4, atol=1e-4)
    assert pellucid("edit", workshop.made, "--undo", "1").code == 0
    assert torch.equal(logits(workshop.made), plain)


def test_parts_that_cannot_be_recorded_say_why(workshop: Workshop) -> None:
    said = pellucid("edit", workshop.made, "--commit", ADDRESS).complaint()
    assert "is raw" in said
    assert "lift" in said
    assert "names no part" in pellucid("edit", workshop.made, "--commit", "L09.H00.QK").complaint()
    workshop.source(ADDRESS, "return 6.0 * (key.position == query.position - 1)")
    before = as_before(workshop)
    assert "nobody changed it" in pellucid("edit", workshop.made, "--commit", ADDRESS, "--against", before).complaint()


def test_diff_shows_predictions_worst_first(workshop: Workshop) -> None:
    assert pellucid("diff", workshop.made, "--json").json["predictions"] == []
    before = as_before(workshop)
    workshop.source(ADDRESS, "return 6.0 * (key.position == query.position - 1)")
    assert pellucid("edit", workshop.made, "--commit", ADDRESS).code == 0
    found = pellucid("diff", workshop.made, "--against", before, "--json").json
    moved = [place["by"] for place in found["predictions"]]
    assert moved
    assert moved == sorted(moved, reverse=True)
    overall = found["changed"]["overall"]
    assert 0 < overall["changed"] <= overall["positions"]
    assert found["totals"]["overall"]["kl"]["value"] > 0
    text = pellucid("diff", workshop.made, "--corpus", workshop.text).out
    assert f"{ADDRESS}: edit 1" in text
    assert "predictions changed" in text
    other = workshop.root / "nowhere"
    assert "nowhere" in pellucid("diff", workshop.made, "--against", other).complaint()

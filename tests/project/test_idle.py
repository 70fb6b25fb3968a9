"""A source that a person changed and that does not run is told of; recorded as an edit, it does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cli_support import Workshop, pellucid
from pellucid.base.address import Address
from pellucid.listing.emit import emit
from pellucid.project.project import Project
from pellucid.verify.running import Running
from printed import arrange, write_lifted, write_statements

IDS = torch.randint(1, 11, (3, 12), generator=torch.Generator().manual_seed(2))
ADDRESS = "L00.H01.QK"
WRITTEN = f'''@source("{ADDRESS}")
def previous_token(query, key):
    """Looks at the token before.

    Less so at the first.
    """
    return 6.0 * (key.position == query.position - 1)
'''
NEURON = (
    '@source("L01.N0003.IN")\ndef after_w2(here):\n    """Fires behind w2."""\n    return 2.0 * (here.previous == 2)\n'
)


@pytest.fixture
def described(workshop: Workshop) -> Workshop:
    """A program in which emission wrote two sources whose residuals are on."""
    given = {Address.parse(ADDRESS): WRITTEN, Address("IN", 1, 3): NEURON}
    write_statements(workshop.made, given)
    return workshop


def alone(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program by itself."""
    command = [sys.executable, "-B", "-m", "program", "w1 w2", "--tokens", "2", *arguments]
    return subprocess.run(command, cwd=directory, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)


def scores(directory: Path) -> torch.Tensor:
    """The scores of layer 0 on whole rows, as the engine runs the program."""
    project = Project.open(directory)
    running = Running(project.model, project.program())
    return running.model.run(IDS, ("L00.scores",), edits=running.edits(IDS))["L00.scores"]


def test_what_emission_wrote_is_not_told_of(described: Workshop) -> None:
    assert Project.open(described.made).running()[1] == ""
    assert alone(described.made).stderr == ""
    assert pellucid("run", described.made, "w1").err == ""


def test_what_a_person_changed_is_told_of_until_it_runs(described: Workshop) -> None:
    plain = alone(described.made).stdout
    described.edit("program/described_00.py", "return 6.0 *", "return 9.0 *")
    told = alone(described.made)
    assert (told.returncode, told.stdout) == (0, plain)
    for said in (told.stderr, pellucid("run", described.made, "w1").err):
        assert f"{ADDRESS} (described_00.py:" in said
        assert "was changed by hand and does nothing here" in said
        assert f"--commit {ADDRESS}" in said
        assert len(said.splitlines()) == 1
    assert "pellucid edit . --commit" in told.stderr
    assert alone(described.made, "--source-only").stderr == ""
    assert pellucid("run", described.made, "w1", "--source-only").err == ""
    described.edit("program/described_01.py", "return 2.0 *", "return 3.0 *")
    assert f"{ADDRESS} (described_00.py:" in alone(described.made).stderr
    assert "L01.N0003.IN (described_01.py:" in alone(described.made).stderr
    assert alone(described.made).stderr.split("program: ")[1] == (
        Project.open(described.made).running()[1].replace(str(described.made), ".") + "\n"
    )


def test_a_changed_description_that_is_recorded_adds_what_was_changed(described: Workshop) -> None:
    before = scores(described.made)
    described.edit("program/described_00.py", "return 6.0 *", "return 9.0 *")
    assert torch.equal(scores(described.made), before)
    (part,) = pellucid("diff", described.made, "--json").json["parts"]
    assert "return 6.0" in part["before"]
    text = pellucid("diff", described.made).out
    assert "  -    return 6.0 * (key.position == query.position - 1)\n" in text
    assert "  +    return 9.0 * (key.position == query.position - 1)\n" in text
    answer = pellucid("edit", described.made, "--commit", ADDRESS)  # neither git nor a copy is needed
    assert answer.code == 0, answer.err
    assert alone(described.made).stderr == ""
    assert Project.open(described.made).running()[1] == ""
    change = scores(described.made) - before
    wanted = torch.zeros_like(change)
    wanted[:, 1] += 3.0 * torch.diag_embed(torch.ones(11), -1)
    seen = torch.ones(12, 12).tril().bool()
    torch.testing.assert_close(change[..., seen], wanted[..., seen], atol=1e-5, rtol=1e-5)
    assert pellucid("edit", described.made, "--undo", "1").code == 0
    assert torch.equal(scores(described.made), before)
    assert "return 6.0" in (described.made / "program" / "described_00.py").read_text()


@pytest.mark.parametrize("written", [True, False])
def test_a_change_beside_a_lifted_form_is_told_of_and_counts_when_recorded(workshop: Workshop, written: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"read_q": (8, 1), "read_k": (8, 1), "bias": (1,)}
    vectors = {f"{ADDRESS}.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    emit(Project.open(workshop.made).subject, workshop.made, None, vectors)
    if written:
        write_statements(workshop.made, {Address.parse(ADDRESS): WRITTEN})
    else:
        workshop.source(ADDRESS, "return 3.0 * (key.position == query.position - 1)")
    write_lifted(workshop.made, {Address.parse(ADDRESS): 1}, ())
    entry = f'[[part]]\naddresses = ["{ADDRESS}"]\nform = "lifted"\nresidual = "dropped"\n'
    (workshop.made / "parts.toml").write_text(entry)
    before = scores(workshop.made)
    if written:
        workshop.edit("program/described_00.py", "return 6.0 *", "return 9.0 *")
    assert torch.equal(scores(workshop.made), before)
    assert "where it is lifted, along few directions" in alone(workshop.made).stderr
    assert pellucid("edit", workshop.made, "--commit", ADDRESS).code == 0
    assert alone(workshop.made).stderr == ""
    found = scores(workshop.made)[:, 1] - (before[:, 1] if written else 0.0)
    seen = torch.ones(12, 12).tril().bool()
    wanted = (3.0 * torch.diag_embed(torch.ones(11), -1)).expand_as(found)
    torch.testing.assert_close(found[..., seen], wanted[..., seen], atol=1e-5, rtol=1e-5)


def test_an_edit_that_cannot_be_made_leaves_nothing_behind(described: Workshop) -> None:
    described.edit("program/described_00.py", "return 6.0 *", "return 9.0 *")
    weights = described.made / "weights.safetensors"
    weights.unlink()
    assert "weights.safetensors is missing" in pellucid("edit", described.made, "--commit", ADDRESS).complaint()
    assert not (described.made / "program" / "edits.py").exists()
    assert pellucid("edit", described.made, "--list").out == "no edits\n"


def test_one_part_is_recorded_at_a_time(described: Workshop) -> None:
    assert "names 2 parts" in pellucid("edit", described.made, "--commit", "L00.H*.QK").complaint()


def test_descriptions_on_pages_of_their_own_are_told_of_and_count_when_recorded(workshop: Workshop) -> None:
    row = 'fires("L01.N0003.IN", -0.5, {2.0: ("w2",)})'
    write_statements(workshop.made, {Address.parse(ADDRESS): WRITTEN, Address("IN", 1, 3): row})
    arrange(workshop.made, ())
    assert alone(workshop.made).stderr == ""
    before = Project.open(workshop.made).program().logits(IDS.numpy())
    workshop.edit("program/described_01.py", "{2.0: ", "{5.0: ")
    assert "L01.N0003.IN (described_01.py:" in alone(workshop.made).stderr
    (part,) = pellucid("diff", workshop.made, "--json").json["parts"]
    assert (part["before"], part["status"]) == (row, "refinement")
    assert pellucid("edit", workshop.made, "--commit", "L01.N0003.IN").code == 0
    assert alone(workshop.made).stderr == ""
    project = Project.open(workshop.made)
    running = Running(project.model, project.program())
    edits = running.edits(IDS)
    pre, plain = (running.model.run(IDS, ("L01.pre",), edits=e)["L01.pre"][..., 3] for e in (edits, {}))
    torch.testing.assert_close(pre - plain, 3.0 * (IDS == 2), atol=1e-5, rtol=1e-5)
    assert pellucid("edit", workshop.made, "--undo", "1").code == 0
    assert (Project.open(workshop.made).program().logits(IDS.numpy()) == before).all()
    assert row in (workshop.made / "program" / "described_01.py").read_text()

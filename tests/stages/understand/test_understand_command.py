"""`decompile --understand`: sources over kinds and values in the program, kept by later runs and by people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import checkpoints
import pellucid
from cli_support import Answer, Workshop, furnish, lean, own_work
from cli_support import pellucid as command
from far import far_away
from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.exact.model import Model
from pellucid.listing.count import count_program
from pellucid.pipeline import explain, link, request, routes, states
from pellucid.pipeline.decompile import Request, decompile
from pellucid.pipeline.request import begin
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.understand import run
from pellucid.stages.understand.plan import Plan
from pellucid.subject.load import load_subject


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("understanding")
    with lean(root / "state"):
        made = furnish(root)
        answer = understand(made, "--understand", 40)
        assert answer.code == 0, answer.err
        yield made


def understand(workshop: Workshop, *more: object) -> Answer:
    text = ("--corpus", workshop.text, "--quick", "--size", "large")
    return command("decompile", workshop.subject, "-o", workshop.fresh, *text, *more)


def text_of(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((project.directory / "program").glob("*.py"))}


def test_the_program_sums_named_values_within_its_budget(workshop: Workshop) -> None:
    project = pellucid.open(workshop.fresh)
    listing = project.listing()
    code = [address for address in listing.decoder.addresses.addresses() if address.kind in ("QK", "IN")]
    held = count_program(listing)
    assert sum(held.get(address, 0) for address in code) <= project.budget
    assert listing.kinds
    assert any(statement.form == "linear" for statement in listing.statements.values())
    parts = {row.part for _, row in project.evidence.find(kind="isolated", metric="score")}
    assert {str(address) for address in code} <= parts
    assert project.report()["source_only"]["overall"]["kl"]["value"] > 0


def test_later_runs_keep_what_was_found_and_what_people_wrote(workshop: Workshop) -> None:
    project = pellucid.open(workshop.fresh)
    before = text_of(project)
    assert understand(workshop).code == 0
    assert text_of(project) == before
    page = project.directory / "program" / "layer_01.py"
    with own_work(project.directory):
        page.write_text(page.read_text() + "\n# a person was here\n")
    (project.directory / "scratch" / "understanding-large.safetensors").unlink()
    assert understand(workshop, "--understand", 40).code == 0
    assert text_of(project) == before | {"layer_01.py": before["layer_01.py"] + "\n# a person was here\n"}


def test_linking_again_leaves_understood_parts_alone(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first sources are not what the program says any more."""
    directory, judged = tmp_path / "again", []

    def linked(_project: Project, sources: FirstSources, *_: object, **__: object) -> list[Address]:
        judged.append(set(sources.forms))
        return []

    shutil.copytree(workshop.fresh, directory)
    monkeypatch.setattr(link, "link_sources", linked)
    monkeypatch.setattr(states, "link_state", lambda _: "something was tuned")
    how = ("--corpus", workshop.text, "--quick", "--size", "large", "--trust")
    assert command("decompile", workshop.subject, "-o", directory, *how).code == 0
    understood = states.understood_before(pellucid.open(directory))
    assert understood
    assert judged
    assert not judged[0] & understood


def test_sizes_follow_each_other_in_one_directory(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A smaller size begins with what the larger one found; what other settings found is not taken for its own."""
    for module, after in ((explain, "tell_parts"), (routes, "verify")):  # change no source
        monkeypatch.setattr(module, after, lambda *_, **__: None)
    subject = checkpoints.write(tmp_path / "subject", checkpoints.hugging_face(n_inner=10))
    asked = Request(
        subject=str(subject), directory=tmp_path / "sizes", corpus=(workshop.text.resolve(),), effort=Effort.quick()
    )
    held = []
    runs = (("medium", 30, False), ("large", 30, False), ("medium", 28, True), ("large", 30, False))
    for size, steps, begins in runs:
        decompile(replace(asked, size=size, understand=steps))
        assert ("begins with sources of" in capsys.readouterr().err) == begins
        project = pellucid.open(tmp_path / "sizes")
        count = count_program(project.listing())
        held.append(sum(found for address, found in count.items() if address.is_code))
        assert held[-1] <= project.budget
    assert held[0] < held[1]
    assert held[2] < held[3] == held[1]  # what large sources became is still there


def test_too_little_text_for_the_budget_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "subject", checkpoints.hugging_face(n_embd=32))
    how = ("--corpus", workshop.text, "--understand", 40, "--quick", "--size", "large")
    answer = command("decompile", tmp_path / "subject", "-o", tmp_path / "x", *how)
    assert answer.code == 2
    assert "tokens of fit text are too few for sources of" in answer.complaint()
    assert not (tmp_path / "x").exists()


def test_fit_text_is_read_again_only_where_training_is_due(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(request, "planned", lambda _project, steps: read.append(steps))
    text = (workshop.text.resolve(),)
    asked = Request(
        subject=str(workshop.subject), directory=workshop.fresh, corpus=text, size="large", effort=Effort.quick()
    )
    subject = load_subject(asked.subject)
    shutil.copytree(workshop.fresh, tmp_path / "made")
    steps = pellucid.open(workshop.fresh).manifest.settings.understand
    for wanted in (steps, None, steps + 1):
        begin(replace(asked, directory=tmp_path / "made", understand=wanted, trust=True), subject)
    begin(replace(asked, directory=tmp_path / "new", understand=steps), subject)
    assert read == [steps + 1, steps]


@pytest.mark.parametrize("steps", [1, 3])
def test_too_few_steps_are_refused(workshop: Workshop, tmp_path: Path, steps: int) -> None:
    how = ("--corpus", workshop.text, "--understand", steps, "--quick")
    answer = command("decompile", workshop.subject, "-o", tmp_path / "x", *how)
    assert f"--understand {steps}: expected 0, or at least 4 steps" in answer.complaint()
    assert not (tmp_path / "x").exists()


def test_few_steps_make_smaller_sources(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans: list[Plan] = []

    def train(_model: object, plan: Plan, *_: object) -> None:
        plans.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr("pellucid.stages.understand.plan.STEP_TOKENS", 64)
    project = pellucid.open(workshop.fresh)
    for steps in (10, 4000):
        with pytest.raises(KeyboardInterrupt):
            run.understand(project, project.model, steps, 0)
    assert plans[0].budget == 10 * 32 // 2 < plans[1].budget <= project.budget
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"10 steps read 320 tokens: sources may hold 160 numbers, of the {project.budget:,} that --size large allows"
    ]


def test_the_share_of_straying_text_is_kept_with_the_project(workshop: Workshop) -> None:
    assert pellucid.open(workshop.fresh).manifest.settings.stray == 0.0
    assert understand(workshop, "--understand", 40, "--stray", 0.5, "--raw").code == 0
    assert pellucid.open(workshop.fresh).manifest.settings.stray == 0.5
    assert understand(workshop, "--raw").code == 0
    assert pellucid.open(workshop.fresh).manifest.settings.stray == 0.5


def test_training_reads_text_that_strays(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[torch.Tensor] = []

    def train(_model: object, _plan: object, fit: torch.Tensor, *_: object) -> None:
        read.append(fit)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", train)
    asked = Request(
        subject=str(workshop.subject),
        directory=tmp_path / "x",
        corpus=(workshop.text,),
        size="large",
        effort=Effort.quick(),
        understand=40,
    )
    projects = [begin(replace(asked, stray=share), load_subject(asked.subject)) for share in (0.0, 1.0)]
    for project in projects:
        with pytest.raises(KeyboardInterrupt):
            run.understand(project, project.model, 40, 0)
    assert torch.equal(read[0], rows_for(projects[0], "fit", 40 * 2048))
    assert not torch.equal(read[1], read[0])


def test_what_trained_elsewhere_is_printed_here(workshop: Workshop) -> None:
    project = pellucid.open(workshop.fresh)
    with far_away() as device:
        found = run.understand(project, Model(project.subject, device=device), 10, 0)
    assert found.student.model is project.model
    assert {tensor.device for tensor in found.student.tensors.values()} == {torch.device("cpu")}
    assert found.texts.statements


def test_a_device_that_is_not_there_is_said_before_anything_is_written(workshop: Workshop, tmp_path: Path) -> None:
    how = ("--corpus", workshop.text, "--understand", 10, "--device", "cuda:77")
    answer = command("decompile", workshop.subject, "-o", tmp_path / "none", *how)
    assert answer.code == 2
    assert "there is no device 'cuda:77' here; PyTorch" in answer.err
    assert not (tmp_path / "none").exists()


def test_straying_text_without_training_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    how = ("--corpus", workshop.text, "--stray", 0.5, "--quick")
    answer = command("decompile", workshop.subject, "-o", tmp_path / "x", *how)
    assert answer.code == 2
    assert "--stray 0.5 is given without --understand" in answer.err
    assert not (tmp_path / "x").exists()

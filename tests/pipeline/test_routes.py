"""Routes are tables of stages: each stage behind those that it needs, kept by its name, and refused by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import families
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.pipeline import routes
from pellucid.pipeline.find import SOURCES, UNDERSTOOD
from pellucid.pipeline.routes import RAW, ROUTES, SEPARATE, TOGETHER
from pellucid.pipeline.stage import KeptAs, Route, Stage, StageRun, measured
from pellucid.project import stage_names
from pellucid.project.evidence import Evidence, Measurement
from pellucid.project.project import Project

ROW = Measurement("L00.H00.QK", "isolated", "score", "s", "heldout", "h", "overall", 0.5, None, None, 10)


def run_of(tmp_path: Path) -> tuple[StageRun, list[str]]:
    """A run over a project with nothing but evidence, and how often its program was printed."""
    printed: list[str] = []
    evidence = Evidence(tmp_path / "evidence.sqlite")
    project = object.__new__(Project)
    project.__dict__.update(evidence=evidence, print_program=lambda: printed.append("printed"))
    return StageRun(project, Effort.quick()), printed


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_what_a_stage_needs_comes_before_it(route: Route) -> None:
    for number, stage in enumerate(route.stages):
        assert {other.name for other in stage.needs} <= {other.name for other in route.stages[:number]}, stage.name


def test_a_name_is_one_stage_s() -> None:
    stages = {id(stage): stage for route in ROUTES for stage in route.stages}.values()
    assert len({stage.name for stage in stages}) == len(stages)
    names = {getattr(stage_names, name) for name in dir(stage_names) if name.isupper() and name != "WORST"}
    assert {stage.name for stage in stages if stage.kept} < names
    assert names - {stage.name for stage in stages} == {stage_names.WORST_UNDERSTOOD}
    assert all(stage.does for stage in stages)


def test_routes_end_with_a_measurement_and_differ_by_what_they_say() -> None:
    assert [stage.name for stage in RAW.stages] == ["program", "verified"]
    assert all(route.stages[-1] is routes.VERIFIED for route in ROUTES)
    there = {stage.name for stage in SEPARATE.stages}
    assert [stage.name for stage in TOGETHER.stages if stage.name not in there] == ["understanding"]


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    run, printed = run_of(tmp_path)
    done: list[str] = []
    kept = KeptAs[int](lambda _: "state", str, lambda _, text: int(text))

    def make(_: StageRun) -> int:
        done.append("made")
        return 7

    stage = Stage("counted", "counts", make, kept=kept, then=lambda _, found: done.append(f"then {found}"))
    stage.carry_out(run)
    assert (run.of(stage), done, printed) == (7, ["made", "then 7"], ["printed"])
    again, _ = run_of(tmp_path)
    stage.carry_out(again)
    assert (again.of(stage), done[2:]) == (7, ["then 7"])
    replace(stage, kept=replace(kept, state=lambda _: "another state")).carry_out(again)
    assert done[3:] == ["made", "then 7"]


def test_measurements_are_kept_as_rows(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path)
    stage = Stage("proved", "proves", lambda _: [ROW], kept=measured(lambda _: "state"))
    stage.carry_out(run)
    stage.carry_out(run)
    assert [row for _, row in run.project.evidence.find(part="L00.H00.QK")] == [ROW]


def test_what_others_write_over_counts_while_it_is_the_last(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path)
    made: list[str] = []

    def kept(state: str) -> Stage[str]:
        def make(_: StageRun) -> str:
            made.append(state)
            return state

        return Stage("written", "writes", make, kept=KeptAs(lambda _: state, str, lambda _, text: text, last=True))

    for state in ("a", "a", "b", "a"):
        kept(state).carry_out(run)
    assert made == ["a", "b", "a"]


def test_what_is_kept_as_something_else_is_said(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path)
    run.project.evidence.finish("counted", "state", "many")
    kept = KeptAs[int](lambda _: "state", str, lambda _, text: int(text))
    with pytest.raises(ProjectError, match="the stage 'counted' is stored as something else"):
        Stage("counted", "counts", lambda _: 7, kept=kept).carry_out(run)


def test_a_stage_without_what_it_needs_is_a_mistake_in_a_route(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path)
    with pytest.raises(LookupError, match="the stage 'sources' has not run"):
        Stage("after", "does nothing", lambda _: None, needs=(SOURCES, UNDERSTOOD)).carry_out(run)


def test_what_stages_cannot_do_for_a_family_is_said_by_its_switches() -> None:
    llama, neox, gpt2 = (families.make(family, 0).decoder for family in ("llama", "gpt_neox", "gpt2"))
    assert not any(route.hindered(gpt2) for route in ROUTES)
    looks, reads = RAW.hindered(llama)
    assert looks.startswith("lifting where heads look cannot serve llama yet: ")
    assert "positions turn queries and keys" in looks
    assert reads.startswith("lifting what neurons read cannot serve llama yet: neurons are gated")
    assert SEPARATE.hindered(llama) == [looks, reads]
    assert TOGETHER.hindered(llama)[2].startswith("the stage 'understanding' cannot serve llama yet: ")
    assert len(RAW.hindered(neox)) == 1 + (not neox.alone and not neox.blocks[0].attention.o.bias)


def test_a_stage_that_cannot_serve_gives_something_else_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = families.in_memory(families.make("llama", 0))
    monkeypatch.setattr(Project, "subject", property(lambda _: made))
    monkeypatch.setattr(Project, "print_program", lambda _: None)
    run = StageRun(object.__new__(Project), Effort.quick())
    gated = Stage[int]("gated", "no", lambda _: pytest.fail("it was made"), cannot=("gates",), instead=lambda _: 3)
    after = Stage("after", "goes on", lambda run: run.of(gated) + 1, needs=(gated,))
    for stage in (gated, after):
        stage.carry_out(run)
    assert (run.of(gated), run.of(after)) == (3, 4)
    made = families.in_memory(families.make("gpt2", 0))
    replace(gated, make=lambda _: 5).carry_out(run)
    assert run.of(gated) == 5

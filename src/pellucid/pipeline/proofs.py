"""The stages that prove on held-out text what was found, and name it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pellucid.base.address import Address
from pellucid.base.files import sha256_text
from pellucid.forms.form import Form
from pellucid.pipeline import states
from pellucid.pipeline.find import TUNED, UNDERSTOOD, Candidates
from pellucid.pipeline.link import CHOSEN
from pellucid.pipeline.program import write_names
from pellucid.pipeline.stage import KeptAs, Stage, StageRun, measured
from pellucid.project import stage_names
from pellucid.project.evidence import Measurement
from pellucid.stages.link.joint import measure_joint
from pellucid.stages.prove import contexts, names, prove, prove_lifted


def standing(run: StageRun) -> Candidates:
    """What was found and stands in the program: not what is understood."""
    found = run.of(TUNED)
    understood = run.results.get(stage_names.UNDERSTANDING, run.of(UNDERSTOOD))
    return replace(found, sources=found.sources.without(understood))


def together(run: StageRun) -> list[Measurement]:
    """What each part that was linked costs in the full program, as it stands after all backing off."""
    found = run.of(FOUND)
    effects = found.sources.effects | found.lifted.effects
    return measure_joint(run.project, alone(run), effects, run.effort)


def alone(run: StageRun) -> dict[Address, Form]:
    """The forms of what runs without its residual."""
    found, dropped = run.of(FOUND), run.project.dropped()
    forms: dict[Address, Form] = {**found.sources.forms, **found.lifted.forms}
    return {address: form for address, form in forms.items() if address in dropped}


def state_of(run: StageRun, addresses: Iterable[Address], more: str = "") -> str:
    """What a proof of these depends on."""
    return sha256_text(" ".join([states.link_state(run.project), *map(str, sorted(addresses))]) + more)


def state_of_sources(run: StageRun) -> str:
    """What the proof of sources depends on."""
    weak = " and weak ones" * run.project.manifest.settings.keep_weak
    return state_of(run, run.of(FOUND).sources.forms, weak)


FOUND = Stage("found", "what was found and stands in the program", make=standing, needs=(TUNED, UNDERSTOOD, CHOSEN))
CONTEXTS: Stage[str] = Stage(
    stage_names.CONTEXTS,
    "the places where sources are most wrong",
    make=lambda run: contexts(run.project, run.of(FOUND).sources, run.effort),
    needs=(FOUND,),
    kept=KeptAs(state_of_sources, str, lambda _, text: text),
)
PROOF = Stage(
    stage_names.PROOF,
    "the score of every source, and what it costs alone",
    make=lambda run: prove(run.project, run.of(FOUND).sources, run.effort),
    needs=(FOUND,),
    kept=measured(state_of_sources),
)
LIFTED_PROOF = Stage(
    stage_names.LIFTED_PROOF,
    "what is kept of each lifted part, and what it costs alone",
    make=lambda run: prove_lifted(run.project, run.of(FOUND).lifted, run.effort),
    needs=(FOUND,),
    kept=measured(lambda run: state_of(run, run.of(FOUND).lifted.forms)),
)
JOINT_PROOF = Stage(
    stage_names.JOINT_PROOF,
    "what each part without residual costs in the full program",
    make=together,
    needs=(FOUND,),
    kept=measured(lambda run: state_of(run, alone(run))),
)
NAMES = Stage(
    "names",
    "names for parts whose rule passed its test",
    make=lambda run: write_names(run.project, names(run.project, run.of(FOUND).sources)),
    needs=(FOUND,),
)

"""The stages that find what may run in the place of weights: sources, what is lifted, and its tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pellucid.base.address import Address
from pellucid.base.terminal import tell
from pellucid.family import needs
from pellucid.forms.lifting import LOOKS, READS
from pellucid.listing.emit import emit
from pellucid.pipeline.program import write_program
from pellucid.pipeline.stage import OTHERS, KeptAs, Stage, StageRun
from pellucid.pipeline.states import reads_less, stage_state, understood_before
from pellucid.project import stage_names
from pellucid.project.project import Project
from pellucid.stages.first.sources import FirstSources, dump, find_sources, load, write_sources
from pellucid.stages.lift.lifted import (
    LiftedParts,
    as_many_channels,
    before_sources,
    dump_lifted,
    find_lifted,
    liftable,
    load_lifted,
)
from pellucid.stages.link.linking import PROMISED
from pellucid.stages.tune.rounds import tune_parts
from pellucid.stages.tune.tuned import describe, named_tuned, read_tuned, with_tuned


@dataclass(frozen=True)
class Candidates:
    """What a run found: sources for QK and IN, and lifted forms."""

    sources: FirstSources
    lifted: LiftedParts

    @property
    def addresses(self) -> set[Address]:
        """All that linking decides about."""
        return {*self.sources.forms, *self.lifted.forms}


def promised(project: Project) -> float:
    """Nats per token that all parts without residual may cost together."""
    return PROMISED[project.manifest.gate.asks]


def first(run: StageRun) -> FirstSources:
    """Sources for every QK and IN, each by itself."""
    return find_sources(run.project, run.of(PROGRAM).means, run.effort, less=reads_less(run.project))


def before(run: StageRun) -> set[Address]:
    """What an earlier run understood; where that was with other settings, it is about to be written over."""
    found = understood_before(run.project)
    if not found:
        run.project.evidence.finish(stage_names.UNDERSTANDING, "", "")
    return found


def written(run: StageRun) -> None:
    """First sources stand in the program, but for what is understood."""
    understood = run.of(UNDERSTOOD)
    write_sources(run.project, run.of(SOURCES).without(understood))


def lifted(run: StageRun) -> LiftedParts:
    """What can be lifted."""
    return find_lifted(run.project, run.of(PROGRAM).vectors, promised(run.project), run.effort)


def standing(project: Project, sources: FirstSources) -> set[Address]:
    """The addresses that no person wrote about, sources that are too weak to be written among them."""
    listing = project.listing()
    return {address for address in sources.forms if not listing[address].by_person}


def candidates(run: StageRun) -> Candidates:
    """What linking may choose among: of each part what costs less, and nothing that a person wrote about."""
    project, sources, parts, vectors = run.project, run.of(SOURCES), run.of(LIFTED), run.of(PROGRAM).vectors
    free = sources.only(standing(project, sources))
    losses = {address: sources.losses[address] for address in free.forms}
    parts = before_sources(parts.only(liftable(project, parts)), losses, promised(project))
    return Candidates(free, as_many_channels(parts, vectors, project.model.decoder))


def tuned(run: StageRun) -> Candidates:
    """The candidates with their vectors tuned together for as long as was asked, or as they were tuned before."""
    project, found, vectors = run.project, run.of(CANDIDATES), run.of(PROGRAM).vectors
    held = read_tuned(project)
    if run.tune and (said := needs.hindered(project.subject.decoder, "tuning", *OTHERS)):
        tell(said)
    elif held is None and run.tune:
        held = tune_parts(project, run.trainer, found.sources, found.lifted, vectors, run.tune, run.effort)
        tell(describe(held) if held else "nothing that can be lifted costs little enough to be tuned")
        if held:
            emit(project.subject, project.directory, lifted=named_tuned(project.model, vectors, held))
    return replace(found, lifted=with_tuned(found.lifted, vectors, held)) if held else found


PROGRAM = Stage(
    "program",
    "the program that runs wholly from the weights, with means and vectors beside them",
    make=lambda run: write_program(run.project, run.effort, lifts=run.lifts),
    partly={
        "lifting where heads look": LOOKS,
        "lifting what neurons read": READS,
    },
)
SOURCES = Stage(
    stage_names.SOURCES,
    "where heads look and when neurons fire, each by itself, within the budget",
    make=first,
    needs=(PROGRAM,),
    kept=KeptAs(lambda run: stage_state(run.project), dump, lambda _, text: load(text)),
)
UNDERSTOOD = Stage("understood before", "what an earlier run understood with these settings", make=before)
WRITTEN = Stage("first sources", "sources stand in the program", make=written, needs=(SOURCES, UNDERSTOOD))
LIFTED = Stage(
    stage_names.LIFTED,
    "along how few directions heads write and look and neurons read, and which neurons write a mean",
    make=lifted,
    needs=(PROGRAM,),
    kept=KeptAs(
        lambda run: stage_state(run.project), dump_lifted, lambda run, text: load_lifted(text, run.of(PROGRAM).vectors)
    ),
)
CANDIDATES = Stage(
    "candidates", "what may run alone, of each part what costs less", make=candidates, needs=(SOURCES, LIFTED, PROGRAM)
)
TUNED = Stage(
    "tuning",
    "the vectors of what is lifted, tuned together (kept in `tuned.safetensors`)",
    make=tuned,
    needs=(CANDIDATES, PROGRAM),
)

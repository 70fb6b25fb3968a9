"""The stages that put parts into words and train sources over kinds and values."""

from __future__ import annotations

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.listing.count import count_program
from pellucid.pipeline import states
from pellucid.pipeline.find import TUNED, UNDERSTOOD
from pellucid.pipeline.program import write_names, write_parts_of
from pellucid.pipeline.stage import OTHERS, KeptAs, Stage, StageRun
from pellucid.project import stage_names
from pellucid.project.project import Project
from pellucid.stages.about.write import tell_parts
from pellucid.stages.understand.run import prove_understanding, understand, understood_names, write_understanding


def tell_all(project: Project, effort: Effort) -> None:
    """Put into words what parts do, before anything is proved: the program that is proved is then the one that stays.

    Texts move the lines that `parts.toml` names, and rows bring theirs along to where their effects put them.
    """
    tell_parts(project, states.stage_state(project), effort)
    write_parts_of(project, project.dropped())


def understood(run: StageRun) -> set[Address]:
    """Sources over kinds and values take the place of first sources that run nowhere alone; those addresses."""
    project, found, listing, dropped = run.project, run.of(TUNED), run.project.listing(), run.project.dropped()
    chosen = {address for address in found.sources.forms if address not in dropped or listing.lifted(address)}
    held = count_program(listing)
    rest = sum(held[address] for address in held if address.is_code and address not in chosen)
    understanding = understand(project, run.trainer, project.manifest.settings.understand, rest)
    write_understanding(project, understanding, chosen)
    write_parts_of(project, dropped)
    rows, worst = prove_understanding(project, understanding, chosen, run.effort)
    project.evidence.add(rows)
    write_names(project, understood_names(project, understanding, chosen))
    project.evidence.finish(stage_names.WORST_UNDERSTOOD, states.understanding_state(project), worst)
    return chosen


ABOUT = Stage(
    stage_names.ABOUT,
    "what parts do, in words, before anything is proved: the program that is proved is then the one that stays",
    make=lambda run: tell_all(run.project, run.effort),
)
HELD_OUT = Stage(
    "held-out text",
    "all is chosen: what is proved from here on reads held-out text, once",
    make=lambda run: run.project.readings.anew(resumes=True),
)
UNDERSTANDING = Stage(
    stage_names.UNDERSTANDING,
    "sources over kinds of tokens and named values, trained together",
    make=understood,
    needs=(TUNED, UNDERSTOOD),
    cannot=OTHERS,
    instead=lambda run: run.of(UNDERSTOOD),
    kept=KeptAs(
        lambda run: states.understanding_state(run.project),
        lambda chosen: " ".join(map(str, sorted(chosen))),
        lambda _, text: {Address.parse(address) for address in text.split()},
        last=True,
    ),
)

"""The stages for a subject with so few weights that its program is wired throughout, and no weights are left."""

from __future__ import annotations

from pellucid.base.files import sha256_text
from pellucid.base.terminal import tell
from pellucid.pipeline import states
from pellucid.pipeline.find import PROGRAM
from pellucid.pipeline.program import write_names, write_parts_of
from pellucid.pipeline.stage import OTHERS, KeptAs, Stage, StageRun, measured
from pellucid.project import stage_names
from pellucid.stages.wired.run import proved, strongest_places, wire, wired_names, written
from pellucid.stages.wired.write import WiredTexts


def text_of(run: StageRun) -> WiredTexts:
    """The text of the wired program. Raises `LookupError` where the subject is not wired."""
    text = run.of(WIRES)
    if text is None:
        raise LookupError("the subject has too many weights to be wired, or parts that are no wires")
    return text


def wired(run: StageRun) -> None:
    """Every part is wired in the program."""
    if run.project.manifest.settings.understand:
        tell("every part is wired: there is nothing left for --understand to train")
    write_parts_of(run.project, wire(run.project, text_of(run)))


def state_of(run: StageRun) -> str:
    """What the proofs depend on: the program as it stands."""
    return sha256_text(f"{states.stage_state(run.project)} {run.project.state()}")


WIRES = Stage(
    "wires",
    "the text of a wired program, none where a subject is not wired",
    make=lambda run: written(run.project),
    cannot=OTHERS,
    instead=lambda _: None,
)
WIRING = Stage("wiring", "every part is wired in the program", make=wired, needs=(WIRES, PROGRAM))
STRONGEST: Stage[str] = Stage(
    stage_names.STRONGEST,
    "where each part acts most",
    make=lambda run: strongest_places(run.project),
    needs=(WIRING,),
    kept=KeptAs(state_of, str, lambda _, text: text),
)
WIRED = Stage(
    stage_names.WIRED,
    "what each part costs, and how far its sentence carries",
    make=lambda run: proved(run.project, text_of(run), run.of(PROGRAM), run.effort),
    needs=(WIRING, PROGRAM),
    kept=measured(state_of),
)
WIRED_NAMES = Stage(
    "names of wires",
    "names for parts whose rule passed its test",
    make=lambda run: write_names(run.project, wired_names(run.project, text_of(run))),
    needs=(WIRES,),
)

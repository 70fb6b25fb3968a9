"""Which stages a decompilation goes through: a table for each way."""

from __future__ import annotations

from typing import Final

from pellucid.pipeline.explain import ABOUT, HELD_OUT, UNDERSTANDING
from pellucid.pipeline.find import CANDIDATES, LIFTED, PROGRAM, SOURCES, TUNED, UNDERSTOOD, WRITTEN
from pellucid.pipeline.link import CHOSEN, LINK
from pellucid.pipeline.proofs import CONTEXTS, FOUND, JOINT_PROOF, LIFTED_PROOF, NAMES, PROOF
from pellucid.pipeline.stage import Route, Stage, StageRun
from pellucid.pipeline.wire import STRONGEST, WIRED, WIRED_NAMES, WIRES, WIRING
from pellucid.verify.verify import verify

VERIFIED: Final = Stage(
    "verified",
    "the figures of the program on held-out text, and the report",
    make=lambda run: verify(run.project, run.effort, known=True),
    needs=(PROGRAM,),
)
_FOUND = (PROGRAM, SOURCES, UNDERSTOOD, WRITTEN, LIFTED, CANDIDATES, TUNED, LINK, CHOSEN, ABOUT, HELD_OUT)
_PROVED = (FOUND, CONTEXTS, PROOF, LIFTED_PROOF, JOINT_PROOF, NAMES, VERIFIED)

RAW: Final = Route("raw", "the program that runs wholly from the weights", (PROGRAM, VERIFIED))
SEPARATE: Final = Route("separate", "every source is found by itself", (*_FOUND, *_PROVED))
TOGETHER: Final = Route("together", "all sources are trained together", (*_FOUND, UNDERSTANDING, *_PROVED))
WIRED_THROUGHOUT: Final = Route(
    "wired",
    "so few weights that all of them become text",
    (WIRES, PROGRAM, WIRING, ABOUT, HELD_OUT, STRONGEST, WIRED, WIRED_NAMES, VERIFIED),
)
ROUTES: Final = (RAW, SEPARATE, TOGETHER, WIRED_THROUGHOUT)


def choose(run: StageRun) -> Route:
    """The route for a subject that is to be explained: by its weights, and by whether there are steps to train for.

    Where training was asked for that cannot serve a subject, the route is the one that says so.
    """
    WIRES.carry_out(run)
    if run.of(WIRES) is not None:
        return WIRED_THROUGHOUT
    settings = run.project.manifest.settings
    unserved = settings.minutes and UNDERSTANDING.hindered(run.project.subject.decoder)
    return TOGETHER if settings.understand or unserved else SEPARATE

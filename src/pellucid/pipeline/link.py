"""The stages that decide what runs without its residual, and put residuals back while the gate fails."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.terminal import tell
from pellucid.pipeline import states
from pellucid.pipeline.find import TUNED, UNDERSTOOD, Candidates
from pellucid.pipeline.program import write_parts_of
from pellucid.pipeline.stage import KeptAs, Stage, StageRun
from pellucid.project import stage_names
from pellucid.project.gate import judge
from pellucid.project.project import Project
from pellucid.stages.first.sources import write_linked
from pellucid.stages.lift.lifted import write_lifted_parts
from pellucid.stages.link.linking import allowed, link_sources
from pellucid.verify.measure import measure_full

CAREFUL = 0.8
"""On check text the full program is held to this share of the gate's limits: held-out text will differ by chance."""

Linked = tuple[Address, ...]
"""What runs without its residual."""


def linked(run: StageRun) -> Linked:
    """What may run alone, judged jointly; understood parts stand there otherwise, and are left alone."""
    found, understood = run.of(TUNED), run.of(UNDERSTOOD)
    return tuple(link_sources(run.project, found.sources.without(understood), found.lifted, run.effort))


def dump(found: Linked) -> str:
    """Addresses as text."""
    return " ".join(map(str, found))


def load(text: str) -> Linked:
    """What `dump` wrote."""
    return tuple(map(Address.parse, text.split()))


def settle(project: Project, found: Candidates, linked: Sequence[Address]) -> None:
    """Drop the residuals of exactly the `linked` among what was found, and lift what of it is data.

    What a person dropped stays dropped.
    """
    by_hand = project.dropped() - found.addresses
    chosen = {*linked} & found.addresses
    write_lifted_parts(project, found.lifted, chosen)
    write_linked(project, found.sources, chosen - found.lifted.forms.keys())
    write_parts_of(project, frozenset(by_hand | chosen))


def back_off(run: StageRun) -> Linked:
    """Put residuals back, the costliest half each time, until the full program keeps within the gate on check text.

    What was tuned together comes last. Without check text held-out text is consulted, which is said and counted.
    Gives what runs without residual in the end.
    """
    project, found, left = run.project, run.of(TUNED), run.of(LINK)
    evidence, state, forms = project.evidence, states.link_state(project), {**found.sources.forms, **found.lifted.forms}
    while left and evidence.finished(stage_names.CHOSEN, f"{state} {project.state()}") is None:
        if keeps_within(project, run.effort):
            evidence.finish(stage_names.CHOSEN, f"{state} {project.state()}", "")
            break
        half = half_of([address for address in left if address in forms], found.lifted.together)
        left = tuple(allowed([half], forms, project.model.decoder))
        tell(f"the full program fails the gate; {len(left):,} parts stay without residual")
        settle(project, found, left)
        evidence.finish(stage_names.LINK, state, dump(left))
    return left


def keeps_within(project: Project, effort: Effort) -> bool:
    """Whether the full program does not fail the gate on check text, at `CAREFUL` of its limits.

    Where there is no check text, on held-out text, by the limits themselves.
    """
    texts, gate = project.texts, project.manifest.gate
    if texts.check:
        split, gate = texts.check, gate.tighter(CAREFUL)
    else:
        split = texts.heldout
        project.readings.anew()
        tell(
            f"{project.directory} was made without check text: what runs without residual is chosen on held-out text, "
            "and what is measured there leans on it; decompile into a new directory to have some"
        )
    return judge(measure_full(project, split, effort).to_dict(), gate, effort)["passed"] is not False


def half_of(linked: Sequence[Address], together: Collection[Address]) -> tuple[Address, ...]:
    """The first half of what is `linked`, with all that was tuned `together` while there is anything else."""
    base = tuple(address for address in linked if address in together)
    rest = tuple(address for address in linked if address not in together)
    return base + rest[: len(rest) // 2] if rest else base[: len(base) // 2]


LINK = Stage(
    stage_names.LINK,
    "what runs without its residual, judged jointly on check text",
    make=linked,
    needs=(TUNED, UNDERSTOOD),
    kept=KeptAs(lambda run: states.link_state(run.project), dump, lambda _, text: load(text)),
    then=lambda run, found: settle(run.project, run.of(TUNED), found),
)
CHOSEN = Stage(
    stage_names.CHOSEN,
    "residuals are put back while the full program fails the gate",
    make=back_off,
    needs=(TUNED, LINK),
)

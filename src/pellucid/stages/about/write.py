"""Puts what parts do into words: in the program for those that carry most, with the evidence for all that carry any."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.base.effort import Effort
from pellucid.listing.change import with_content
from pellucid.project.descriptions import InWords, dump, load
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.project.stage_names import ABOUT
from pellucid.stages.about.run import tell
from pellucid.stages.about.tell import ranked
from pellucid.stages.about.without import results_in

WRITTEN, KEPT = 0.9, 0.999
"""The share of the neurons' effect whose neurons the program tells of, and of which the evidence keeps what they do."""


def tell_parts(project: Project, state: str, effort: Effort) -> None:
    """Watch every head and neuron, and write what they do; `state` is what the stages of the run depend on.

    What a person wrote about a part stays. A stage that ended in an earlier run is not repeated.
    """
    evidence = project.evidence
    text = evidence.finished(ABOUT, state)
    if text is None:
        rows = rows_for(project, "fit", effort.about_tokens)
        results = results_in(project.directory, f"{state} {effort.about_tokens}")
        text = dump(_strongest(tell(project.model, rows, project.manifest.settings.seed, results), KEPT))
        evidence.finish(ABOUT, state, text)
    told = load(text)
    written = {part: found.text for part, found in _strongest(told, WRITTEN).items()}
    gone = {part: "" for part, about in project.listing().abouts.items() if part not in written and not about.by_person}
    project.take(with_content(project.listing(), about=gone | written))


def _strongest(told: Mapping[str, InWords], share: float) -> dict[str, InWords]:
    """All heads, and the neurons that carry so much of the neurons' effect."""
    neurons = {part: found.share for part, found in told.items() if ".N" in part}
    chosen = set(ranked(neurons, share))
    return {part: found for part, found in told.items() if part in chosen or ".N" not in part}

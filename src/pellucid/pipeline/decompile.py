"""The main job: from a subject to its program, verified."""

from __future__ import annotations

from pellucid.base.lock import writing
from pellucid.base.terminal import tell
from pellucid.exact.device import device_of
from pellucid.family.allowance import most_rank, read_by
from pellucid.pipeline.request import Request as Request
from pellucid.pipeline.request import begin, check_directory
from pellucid.pipeline.routes import RAW, choose
from pellucid.pipeline.stage import StageRun
from pellucid.project.project import Project
from pellucid.subject.load import load_subject


def decompile(request: Request) -> Project:
    """Write the program of a subject and measure it; what is there already is kept and gone on from.

    With `request.raw` nothing is decompiled yet: the program runs wholly from the weights.
    """
    check_directory(request.directory)
    with writing(request.directory, make=True):
        return _decompile(request)


def _decompile(request: Request) -> Project:
    """The same, alone in its directory."""
    device_of(request.device)
    subject = load_subject(request.subject)
    project = begin(request, subject)
    announce(project)
    lifts = subject.decoder.alone or not request.raw
    run = StageRun(project, request.effort, request.tune, request.device, lifts)
    route = RAW if request.raw else choose(run)
    route.follow(run)
    return project


def announce(project: Project) -> None:
    """Say on standard error what is being decompiled and what it will take on disk: weights, means and vectors."""
    subject, parameters, sizes = project.subject, project.subject.parameters, project.subject.decoder.sizes
    rank = most_rank(subject.decoder)
    head = sizes.model + rank * (read_by(subject.decoder) + sizes.model + 1)
    extras = subject.decoder.layers * (sizes.neuron * (sizes.model + 1) + sizes.head * head)
    size = 4 * (parameters + extras) / 1e6
    tell(f"decompiling {project.subject.name}: {parameters:,} parameters, {size:,.0f} MB on disk")
    for note in project.subject.notes:
        tell(f"  {note}")

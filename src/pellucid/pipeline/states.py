"""What the stages of a run depend on, as hashes: what ended for one of these need not be repeated."""

from __future__ import annotations

from dataclasses import replace

from pellucid.base.address import Address
from pellucid.base.files import sha256_text
from pellucid.project.project import EVIDENCE, Project
from pellucid.project.stage_names import SOURCES, UNDERSTANDING
from pellucid.stages.tune.tuned import tuned_hash


def stage_state(project: Project) -> str:
    """What the stages of a run depend on: subject, text, settings and version, and from how much text they begin."""
    return sha256_text(f"{_whole_state(project)} less text") if reads_less(project) else _whole_state(project)


def reads_less(project: Project) -> bool:
    """Whether first sources are found from less text: they are there to be linked, and then all others are trained.

    Not where they were found from all of it before.
    """
    if not project.manifest.settings.understand:
        return False
    made = (project.directory / EVIDENCE).is_file()  # asking makes one where there is none
    return not made or project.evidence.finished(SOURCES, _whole_state(project)) is None


def _whole_state(project: Project) -> str:
    manifest = project.manifest
    settings = replace(manifest.settings, understand=0, stray=0.0, minutes=0.0)
    return sha256_text(repr((manifest.subject, manifest.corpus, settings, manifest.gate)))


def link_state(project: Project) -> str:
    """What linking and all that follows depend on: the state of the stages before, and what was tuned."""
    tuned = tuned_hash(project)
    return sha256_text(f"{stage_state(project)} {tuned}") if tuned else stage_state(project)


def understanding_state(project: Project) -> str:
    """What the stage of understanding depends on."""
    settings = project.manifest.settings
    strays = f" {settings.stray}" if settings.stray else ""
    return sha256_text(f"{stage_state(project)} {settings.understand}{strays}")


def understood_before(project: Project) -> set[Address]:
    """The parts that the last run has written sources over kinds and values for, if its settings were these."""
    state = understanding_state(project)
    measured = (project.directory / EVIDENCE).is_file()  # asking makes one where there is none
    if not measured or project.evidence.latest_state(UNDERSTANDING) != state:
        return set()
    found = project.evidence.finished(UNDERSTANDING, state) or ""
    return {Address.parse(address) for address in found.split()}

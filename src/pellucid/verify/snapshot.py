"""A copy of a project to measure in, so that nothing in its own directory is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import safetensors

from pellucid.base.effort import Effort
from pellucid.base.files import passing_folder, require_regular
from pellucid.base.tensors import open_tensors
from pellucid.base.trusted import copy_program
from pellucid.listing.load import Program, load_program
from pellucid.listing.weights import write_weights
from pellucid.project.evidence import MOST as MOST_ROWS
from pellucid.project.project import Project
from pellucid.stages.lift.means import fit_extras

WEIGHTS = "weights.safetensors"
_FILES = ("pellucid.toml", "parts.toml", "symbols.tsv", "report.json", "evidence.sqlite", "evidence.sqlite-wal")


class Snapshot(Project):
    """A project in a directory of its own, whose program may run since that of the original may."""

    def program(self, source_only: Literal["code", "all"] | None = None) -> Program:
        """The program, ready to run."""
        return load_program(self.directory, source_only)


@contextmanager
def snapshot(project: Project, *, weights: bool) -> Iterator[Snapshot]:
    """A copy of `project` for a while, with its `weights` if its program is to run.

    They are those of the project, or made anew from the subject where git does not hold them. Raises `ProjectError` if
    the program is a stranger's and not trusted.
    """
    if weights:
        project.require_trust()
    with passing_folder() as directory:
        copy_program(project.directory, directory)
        for file in _FILES:
            if (project.directory / file).exists():
                require_regular(project.directory / file, MOST_ROWS)
                shutil.copyfile(project.directory / file, directory / file)
        copy = Snapshot(directory, project.manifest, project.model, project.texts)
        if weights and held_subject(project) == project.manifest.subject.weights_sha256:
            os.symlink((project.directory / WEIGHTS).resolve(), directory / WEIGHTS)
        elif weights:
            _write_weights(copy)
        yield copy


def held_subject(project: Project) -> str | None:
    """The SHA-256 of the subject that the weights of `project` are from; None where there are none to read."""
    try:
        with open_tensors(project.directory / WEIGHTS, "np") as file:
            return (file.metadata() or {}).get("subject")
    except (OSError, safetensors.SafetensorError):
        return None


def _write_weights(copy: Project) -> None:
    """Write what `decompile` would: the weights, and the means and vectors over the same text."""
    extras = fit_extras(copy, Effort.of(copy.manifest.settings.quick))
    write_weights(copy.subject, copy.directory, extras.means, extras.vectors.named(copy.model))

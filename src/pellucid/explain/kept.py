"""Explanations of a project: what they depend on, and where they are kept."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.base.files import sha256_text
from pellucid.project.explanations import Explained, keep_explanations, read_explanations
from pellucid.project.project import Project

ASKED = "asked about parts"
"""The stage that keeps what is right in requests that were written."""
RULE = "rule"
"""Who found explanations that need no reader."""
LONGEST = 400
"""Characters of an explanation, at most."""


def load(project: Project) -> dict[str, Explained]:
    """What is known, by part; empty before the first explanation. Raises `ProjectError` for what is not ours."""
    return read_explanations(project.evidence, state(project))


def store(project: Project, known: Mapping[str, Explained]) -> None:
    """Keep it."""
    keep_explanations(project.evidence, state(project), known)


def state(project: Project) -> str:
    """What explanations depend on: the weights and the text."""
    texts = " ".join(split.sha256 for split in project.texts.named.values())
    return sha256_text(f"{project.manifest.subject.weights_sha256} {texts}")

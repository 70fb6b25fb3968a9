"""How tables were asked stays with the evidence, and is data when it is read."""

from __future__ import annotations

import json

import pytest

from cli_support import Workshop
from pellucid.accounts.asked import STAGE, TableWordings, forget, read, write
from pellucid.base.errors import ProjectError
from pellucid.project.project import Project


def test_what_was_asked_is_read_as_it_was_written(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    assert read(project, "next.tsv") is None
    write(project, "next.tsv", ["{} w2", "w3 {} w2"], {"w1": "w3 w4"})
    write(project, "next.tsv", ["{} w2", "w4 {} w2"], {"w1": "w3 w4", "w5": "wé"})
    found = read(Project.open(workshop.made), "next.tsv")
    assert found == TableWordings(("{} w2", "w4 {} w2"), {"w1": "w3 w4", "w5": "wé"})
    assert found.prompts("w5") == ("w5 w2", "w4 w5 w2")
    assert read(project, "other.tsv") is None
    forget(project, "next.tsv")
    forget(project, "other.tsv")
    assert read(project, "next.tsv") is None
    assert project.evidence.finished(STAGE, "other.tsv") is None


@pytest.mark.parametrize("asks", [[], ["w1"], ["{} w1", "w2"]])
def test_a_wording_has_a_place_for_the_key(workshop: Workshop, asks: list[str]) -> None:
    with pytest.raises(ValueError, match="in the place of the key"):
        write(Project.open(workshop.made), "next.tsv", asks, {})


@pytest.mark.parametrize(
    "held",
    [
        "[]",
        "{",
        '{"asks": [], "answers": {}}',
        '{"asks": ["w"], "answers": {}}',
        '{"asks": ["{}"], "answers": {"a": 1}}',
    ],
)
def test_evidence_that_holds_something_else_is_refused(workshop: Workshop, held: str) -> None:
    project = Project.open(workshop.made)
    project.evidence.finish(STAGE, "next.tsv", held if held == "{" else json.dumps(json.loads(held)))
    with pytest.raises(ProjectError, match="stage 'accounts-asked' is stored as something else"):
        read(project, "next.tsv")

"""Explanations and their scores as they are kept with the evidence of a project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pellucid.base.errors import ProjectError
from pellucid.base.files import sha256_text
from pellucid.base.schema import parsed
from pellucid.project.stage_names import EXPLAINED
from pellucid.project.project import Project

ASKED = "asked about parts"
"""The stage that keeps what is right in requests that were written."""
RULE = "rule"
"""Who found explanations that need no reader."""
LONGEST = 400
"""Characters of an explanation, at most."""


@dataclass(frozen=True)
class Told:
    """An explanation of a part by somebody, its scores, and what the same reader makes of another part's.

    Scores that were not measured are None, also where there is nobody yet who scored it.
    """

    by: str
    text: str
    scores: dict[str, float | None]
    shuffled: dict[str, float | None]

    @property
    def name(self) -> str:
        """What stands for its text in requests."""
        return sha256_text(f"{self.by}\0{self.text}")[:8]


@dataclass(frozen=True)
class Known:
    """All that was said of a part. `share`: its part of the summed effects of its kind, where it was measured.

    `baseline` are the scores of a token table: what a part does on average on every token.
    """

    share: float | None
    baseline: dict[str, float | None]
    told: tuple[Told, ...]

    def best(self) -> Told | None:
        """What is shown: what a person said, else what detects best; of those without a score the last."""
        ranked = sorted(enumerate(self.told), key=lambda one: (one[1].by == "user", _detects(one[1]), one[0]))
        return ranked[-1][1] if ranked else None

    def with_told(self, told: Told) -> Known:
        """The same with one more explanation, in the place of an equal one."""
        others = tuple(one for one in self.told if one.name != told.name)
        return Known(self.share, self.baseline, (*others, told))


def _detects(told: Told) -> float:
    """How well it detects, whoever read it."""
    values = (told.scores.get(name) for name in ("detection", "detection, read"))
    return max((value for value in values if value is not None), default=-1.0)


def load(project: Project) -> dict[str, Known]:
    """What is known, by part; empty before the first explanation. Raises `ProjectError` for what was not written here."""
    text = project.evidence.finished(EXPLAINED, state(project))
    return {} if text is None else parsed(dict[str, Known], text, f"evidence.sqlite, {EXPLAINED}", ProjectError)


def store(project: Project, known: Mapping[str, Known]) -> None:
    """Keep it."""
    held = {name: asdict(one) for name, one in known.items()}
    project.evidence.finish(EXPLAINED, state(project), json.dumps(held, ensure_ascii=False))


def state(project: Project) -> str:
    """What explanations depend on: the weights and the text."""
    texts = " ".join(split.sha256 for split in project.texts.named.values())
    return sha256_text(f"{project.manifest.subject.weights_sha256} {texts}")

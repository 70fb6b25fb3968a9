"""What was said of heads and neurons in words, by rules, people or models, with scores: kept with the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pellucid.base.errors import ProjectError
from pellucid.base.files import sha256_text
from pellucid.base.schema import parsed
from pellucid.project.evidence import Evidence

EXPLAINED = "explanations"
"""What they are kept under."""
PERSON = "user"
"""Who counts before everybody else."""
READ = ", read"
"""Behind the name of a score that a reader got; others come of running a rule."""


@dataclass(frozen=True)
class Told:
    """An explanation of a part by somebody, its scores, and what the same reader makes of another part's.

    Scores that were not measured are None, or not there.
    """

    by: str
    text: str
    scores: dict[str, float | None]
    shuffled: dict[str, float | None]

    @property
    def name(self) -> str:
        """What stands for its text in requests."""
        return sha256_text(f"{self.by}\0{self.text}")[:8]

    @property
    def detects(self) -> float | None:
        """How well it tells where the part is active, balanced; what a reader got of it before what its rule gets."""
        read = self.scores.get(f"detection{READ}")
        return self.scores.get("detection") if read is None else read

    def shown(self) -> str:
        """The explanation with who gave it and how well it detects."""
        score = "not scored" if self.detects is None else f"detects {self.detects:.2f}, chance is 0.50"
        return f"{self.text} ({self.by}: {score})"


@dataclass(frozen=True)
class Explained:
    """All that was said of a part. `share`: its part of the summed effects of its kind, where it was measured.

    `baseline` are the scores of a token table: what a part does on average on every token.
    """

    share: float | None
    baseline: dict[str, float | None]
    told: tuple[Told, ...]

    @property
    def best(self) -> Told | None:
        """What is shown: what a person said, else what detects best; of those alike the last."""
        ranked = [
            (one.by == PERSON, -1.0 if one.detects is None else one.detects, at) for at, one in enumerate(self.told)
        ]
        return self.told[max(ranked)[2]] if ranked else None

    def with_told(self, told: Told) -> Explained:
        """The same with one more explanation, in the place of an equal one."""
        others = tuple(one for one in self.told if one.name != told.name)
        return Explained(self.share, self.baseline, (*others, told))


def read_explanations(evidence: Evidence, state: str | None = None) -> dict[str, Explained]:
    """What is known, by part (`L02.H00`), in one `state`, or as it was kept last; empty before the first explanation.

    Raises `ProjectError` for what was not written here.
    """
    text = evidence.latest(EXPLAINED) if state is None else evidence.finished(EXPLAINED, state)
    return {} if text is None else parsed(dict[str, Explained], text, f"evidence.sqlite, {EXPLAINED}", ProjectError)


def keep_explanations(evidence: Evidence, state: str, known: Mapping[str, Explained]) -> None:
    """Keep it as what is known in a `state`."""
    held = {name: asdict(one) for name, one in known.items()}
    evidence.finish(EXPLAINED, state, json.dumps(held, ensure_ascii=False))

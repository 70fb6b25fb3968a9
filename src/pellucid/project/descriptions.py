"""What whole heads and neurons do, in words: kept with the evidence as a stage of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pellucid.base.errors import ProjectError
from pellucid.base.schema import parsed
from pellucid.project.evidence import Evidence
from pellucid.project.explanations import read_explanations
from pellucid.project.stage_names import ABOUT


@dataclass(frozen=True)
class InWords:
    """What is known of a part in words: a text, and its share of the summed effects of all parts of its kind."""

    text: str
    share: float


def dump(told: Mapping[str, InWords]) -> str:
    """`told` as JSON, to be kept with the evidence."""
    return json.dumps({part: [found.text, found.share] for part, found in told.items()}, ensure_ascii=False)


def load(text: str) -> dict[str, InWords]:
    """What `dump` wrote. Raises `ProjectError` for anything else."""
    kept = parsed(dict[str, tuple[str, float]], text, f"evidence.sqlite, {ABOUT}", ProjectError)
    return {part: InWords(said, share) for part, (said, share) in kept.items()}


def told_before(evidence: Evidence) -> dict[str, str]:
    """What is known of whole heads and neurons, by `L02.H00` or `L02.N0417`: what the last run found out about them.

    Behind it what they are explained by, with how well that tells where they are active. Empty before both.
    """
    text = evidence.latest(ABOUT)
    told = {part: found.text for part, found in load(text).items()} if text else {}
    for part, explained in read_explanations(evidence).items():
        if explained.best:
            told[part] = f"{told.get(part, '')} {explained.best.shown()}".strip()
    return told

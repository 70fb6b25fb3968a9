"""How a table was asked of the model, and what the model answered: what changed lines of its file are found against.

A file of `tables/` is a person's to change. What the model said is kept with the evidence, by the name of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.project.project import Project

STAGE = "accounts-asked"
AGREEMENT, MARGIN, TOLD = "agreement", "margin", "told"
"""Columns of a table that was asked: the share of wordings and places that give the answer, how far its first token
leads the runner-up, and whether the text ever says so."""
YES, OTHERWISE, NEVER = "yes", "otherwise", "no"
"""In the column `told`: the text says so, says something else, or says nothing of it.

The last is a phantom: the model answers all the same."""
PLACE = "{}"
"""Stands for the key in a wording."""


@dataclass(frozen=True)
class TableWordings:
    """The wordings of a question, such as `{} lives in`, the plainest first, and the answer of the model by key."""

    asks: tuple[str, ...]
    answers: Mapping[str, str]

    def prompts(self, key: str) -> tuple[str, ...]:
        """The question about `key`, in all wordings."""
        return tuple(ask.replace(PLACE, key) for ask in self.asks)

    def letters(self, key: str) -> tuple[range, ...]:
        """Where `key` first stands in each of these prompts."""
        starts = [ask.index(PLACE) for ask in self.asks]
        return tuple(range(start, start + len(key)) for start in starts)


def write(project: Project, table: str, asks: Sequence[str], answers: Mapping[str, str]) -> None:
    """Keep with the evidence of `project` how the file `table` of `tables/` was asked, and what the model answered.

    Raises `ValueError` for a wording without the place of the key, and for none.
    """
    if not asks or any(PLACE not in ask for ask in asks):
        raise ValueError(f"{table}: expected wordings with {PLACE} in the place of the key, got {list(asks)!r}")
    kept = {"asks": list(asks), "answers": dict(answers)}
    project.evidence.finish(STAGE, table, json.dumps(kept, ensure_ascii=False))


def forget(project: Project, table: str) -> None:
    """Let the file `table` of `tables/` be one that was not asked: it was written anew in another way."""
    if project.evidence.finished(STAGE, table) is not None:
        project.evidence.finish(STAGE, table, "null")


def read(project: Project, table: str) -> TableWordings | None:
    """How the file `table` of `tables/` was asked, None where it was not: a person wrote it.

    Raises `ProjectError` where the evidence holds something else.
    """
    text = project.evidence.finished(STAGE, table)
    if text is None:
        return None
    with project.evidence.understood(STAGE):
        held = json.loads(text)
        if held is None:
            return None
        asks, answers = tuple(held["asks"]), dict(held["answers"])
        texts = [*asks, *answers, *answers.values()]
        if not asks or not all(isinstance(text, str) for text in texts) or any(PLACE not in ask for ask in asks):
            raise ValueError(f"expected wordings with {PLACE} and answers by key")
        return TableWordings(asks, answers)

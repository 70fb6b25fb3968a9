"""Marks for readers' answers, beside those of who always gives the commonest answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.accounts.meter import Proportion
from pellucid.accounts.questions import STAGE
from pellucid.base.errors import PellucidError, ProjectError
from pellucid.base.files import read_text
from pellucid.base.schema import parsed
from pellucid.project.project import Project
from pellucid.subject.tokenizer import Tokenizer


@dataclass(frozen=True)
class GivenAnswer:
    """A line of a file of answers: a text, or the numbers of prompts."""

    id: str
    answer: str | list[int]


def read_answers(path: Path) -> dict[str, str | list[int]]:
    """The answers in the file at `path`, one JSON object a line, by question.

    Raises `ProjectError` naming the line that is none, or the question that is answered twice.
    """
    found: dict[str, str | list[int]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        entry = parsed(GivenAnswer, line, f"{path}:{number}", ProjectError)
        if entry.id in found:
            raise ProjectError(f"{path}:{number}: {entry.id!r} is answered already; leave one line for it")
        found[entry.id] = entry.answer
    if not found:
        raise ProjectError(f'{path} has no answers; expected lines such as {{"id": "…-001", "answer": " in"}}')
    return found


def score(project: Project, path: Path) -> dict[str, Any]:
    """The marks of the answers at `path`. What was not answered is wrong, and of heads counts as no prompt."""
    answers = read_answers(path)
    truth = _truth(project, next(iter(answers)))
    if unknown := [id for id in answers if id not in truth]:
        raise ProjectError(f"{path}: {unknown[0]!r} is no question of this set; answer one set in one file")
    following = {id: entry for id, entry in truth.items() if entry["kind"] == "next"}
    hard = {id: entry for id, entry in following.items() if entry["hard"]}
    tokenizer = project.model.tokenizer
    return {
        "questions": len(truth),
        "answered": len(answers),
        "next": {"all": _next(following, answers, tokenizer), "hard": _next(hard, answers, tokenizer)},
        "changes": _changes({id: entry for id, entry in truth.items() if entry["kind"] == "changes"}, answers),
    }


def _truth(project: Project, question: str) -> dict[str, Any]:
    """What is right in the set that a question is of."""
    text = project.evidence.finished(STAGE, question.rpartition("-")[0])
    if text is None:
        raise ProjectError(
            f"{question!r} is no question that was drawn for {project.directory}; draw some with -o FILE"
        )
    with project.evidence.understood(STAGE):
        found: dict[str, Any] = {id: {**entry} for id, entry in json.loads(text).items()}
    return found


def _next(truth: Mapping[str, Any], answers: Mapping[str, str | list[int]], tokenizer: Tokenizer) -> dict[str, Any]:
    """How often the next token was right, and how often the commonest one would have been."""
    right = sum(_is_same(answers.get(id), entry["answer"], tokenizer) for id, entry in truth.items())
    commonest = Counter(entry["answer"] for entry in truth.values()).most_common(1)
    return {
        "right": Proportion(right, len(truth)).to_dict(),
        "majority": Proportion(commonest[0][1] if commonest else 0, len(truth)).to_dict(),
    }


def _is_same(answer: str | list[int] | None, token: str, tokenizer: Tokenizer) -> bool:
    """Whether an answer is the token, or a text that begins with it; of blanks alone they count."""
    if not isinstance(answer, str):
        return False
    if answer == token or (bool(token.strip()) and answer.strip() == token.strip()):
        return True
    return any(_begins(text, token, tokenizer) for text in (answer, f" {answer.strip()}"))


def _begins(text: str, token: str, tokenizer: Tokenizer) -> bool:
    """Whether the first token of a text is this one."""
    try:
        return tokenizer.decode(tokenizer.encode(text)[:1]) == token
    except PellucidError:
        return False


def _changes(truth: Mapping[str, Any], answers: Mapping[str, str | list[int]]) -> dict[str, Any]:
    """Balanced accuracy over all prompts: the mean of how many that change, and that do not, were told."""
    hits, n = Counter[bool](), Counter[bool]()
    for id, entry in truth.items():
        given = answers.get(id)
        named = set(given) if isinstance(given, list) else set()
        for number in range(1, entry["of"] + 1):
            changes = number in entry["answer"]
            n[changes] += 1
            hits[changes] += (number in named) == changes
    balanced = (hits[True] / n[True] + hits[False] / n[False]) / 2 if n[True] and n[False] else None
    return {
        "balanced": balanced,
        "majority": None if balanced is None else 0.5,
        "changed": n[True],
        "unchanged": n[False],
    }

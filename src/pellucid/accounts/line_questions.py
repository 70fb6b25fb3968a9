"""Questions for readers about a line of a table: were its answer another, which prompts would go on otherwise?

They are drawn from how tables were asked and what the model answered; rules are not read. Nothing is edited for them:
what is right is told by what the model says as it is. A prompt changes where it ends in the line's question, in one of
its wordings, and the model gives the line's answer there. Others ask about another key, or the model says something
else there. Where neither is clear a prompt is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

import torch

from pellucid.accounts.asked import TableWordings, read
from pellucid.accounts.folder import Folder
from pellucid.accounts.prompts import CHOICE, Prompt, Question, said, shown
from pellucid.exact.model import Model
from pellucid.project.project import Project

T = TypeVar("T")
ASKS = (
    "If the model's answer for {key!r} in {table} were {other!r}, behind which of these prompts would the next token "
    "be another? Answer with their numbers, from 1 on."
)
MOST = 24
"""Prompts of a kind that are looked at for a question."""


@dataclass(frozen=True)
class _Line:
    """A line of a table as it was asked."""

    table: str
    key: str
    asked: TableWordings

    @property
    def answer(self) -> str:
        return self.asked.answers[self.key]


def line_questions(project: Project, pool: Sequence[Prompt], n: int, generator: torch.Generator) -> Iterator[Question]:
    """At most `n` questions, of all tables that were asked in turn; `pool` are places of held-out text."""
    model = project.model
    tables = {path.name: found for path in Folder(project).tables if (found := read(project, path.name))}
    by_table = [
        [_Line(table, key, asked) for key in _shuffled(list(asked.answers), generator)]
        for table, asked in _shuffled(list(tables.items()), generator)
    ]
    count = 0
    for line in (line for turn in zip_longest(*by_table) for line in turn if line is not None):
        if count == n:
            return
        if question := _question(model, line, tables, pool, generator):
            yield question
            count += 1


def _question(
    model: Model, line: _Line, tables: Mapping[str, TableWordings], pool: Sequence[Prompt], generator: torch.Generator
) -> Question | None:
    """The question about a line; None where the model does not give its answer, or nothing else could be one."""
    wordings = [Prompt.of(model, text) for text in line.asked.prompts(line.key)]
    own = [
        prompt
        for prompt, token in zip(wordings, said(model, wordings), strict=True)
        if token == _first(model, prompt, line.answer)
    ]
    answers = _shuffled(list(dict.fromkeys(line.asked.answers.values())), generator)
    now = _first(model, wordings[0], line.answer)
    other = next((answer for answer in answers if _first(model, wordings[0], answer) not in (None, now)), None)
    if not own or other is None:
        return None
    changed = _shuffled(own, generator)[: CHOICE // 2]
    kinds = [_shuffled(prompts, generator) for prompts in _others(model, line, tables, pool, generator)]
    others = [prompt for turn in zip_longest(*kinds) for prompt in turn if prompt is not None]
    if not others:
        return None
    prompts, answer = shown(changed, others[: CHOICE - len(changed)], generator)
    asks = ASKS.format(key=line.key, table=line.table, other=other)
    question = {"kind": "changes", "asks": asks, "table": line.table, "key": line.key, "instead": other}
    return question | {"prompts": prompts}, {"kind": "changes", "answer": answer, "of": len(prompts)}


def _others(
    model: Model, line: _Line, tables: Mapping[str, TableWordings], pool: Sequence[Prompt], generator: torch.Generator
) -> Iterator[list[Prompt]]:
    """Prompts that do not change: the same about other keys, other tables about the key, and text that names it."""
    keys = _shuffled([key for key in line.asked.answers if key != line.key], generator)[:CHOICE]
    yield [Prompt.of(model, _shuffled(line.asked.prompts(key), generator)[0]) for key in keys]
    same = {text for asked in tables.values() if line.key in asked.answers for text in asked.prompts(line.key)}
    texts = sorted(same - {*line.asked.prompts(line.key)})
    yield _saying_else(model, line, [Prompt.of(model, text) for text in _shuffled(texts, generator)[:MOST]])
    ends = line.asked.prompts(line.key)
    named = [place for place in pool if line.key in place.text and not place.text.endswith(ends)]
    yield _saying_else(model, line, named[:MOST])


def _saying_else(model: Model, line: _Line, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts behind which the model does not begin with the answer of a line."""
    tokens = said(model, prompts)
    return [p for p, token in zip(prompts, tokens, strict=True) if token != _first(model, p, line.answer)]


def _first(model: Model, prompt: Prompt, answer: str) -> int | None:
    """The token with which `answer` begins behind a prompt; None where it changes how that is cut into tokens."""
    ids = model.tokenizer.opened(f"{prompt.text} {answer}")
    before = model.tokenizer.opened(prompt.text)
    return ids[len(before)] if len(ids) > len(before) and ids[: len(before)] == before else None


def _shuffled(items: Sequence[T], generator: torch.Generator) -> list[T]:
    return [items[at] for at in torch.randperm(len(items), generator=generator).tolist()]

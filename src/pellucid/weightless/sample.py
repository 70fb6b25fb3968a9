"""Rows for a model that comes without any: drawn from its vocabulary, in the plainest frame its special tokens form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pellucid.base.errors import SubjectError
from pellucid.exact.model import Model
from pellucid.weightless.language import Alphabet
from pellucid.weightless.task import Task, TaskRow

COUNT, LONGEST = 600, 50
BAND = "sampled"


def sampled(task: Task, model: Model, seed: int = 0) -> Task:
    """`task` with rows `<bos> content <eos>` (as far as there are such tokens), every place but the last scored.

    Raises `SubjectError` for a vocabulary without a token that is not special.
    """
    content = [id for id in range(len(task.vocabulary)) if id not in task.special]
    if not content:
        raise SubjectError(f"the vocabulary of {task.name} has special tokens only; give rows in inputs.jsonl.gz")
    begin = [id for id in task.special if "bos" in task.vocabulary[id]][:1]
    end = [id for id in task.special if "eos" in task.vocabulary[id]][:1]
    longest = min(LONGEST, model.n_ctx - len(begin) - len(end))
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(COUNT):
        weights = draw.dirichlet(np.ones(len(content)))
        middle = draw.choice(content, int(draw.integers(1, longest + 1)), p=weights)
        ids = (*begin, *map(int, middle), *end)
        rows.append(TaskRow(BAND, ids, tuple(range(max(1, len(ids) - len(end))))))
    return replace(task, rows=tuple(rows), bands=(BAND,), trained=BAND, sampled=True)


def with_pairs(task: Task) -> Task:
    """`task` with its rows; where it has none, with every pair of numbers, followed by its first other token."""
    if task.rows:
        return task
    number = Alphabet.of(task).number
    ids, others = np.flatnonzero(number >= 0), np.flatnonzero(number < 0)
    if not len(ids) or not len(others):
        raise SubjectError(
            f"the vocabulary of {task.name} is not numbers and a token to end with; give inputs.jsonl.gz"
        )
    rows = tuple(TaskRow(BAND, (int(a), int(b), int(others[0])), (2,)) for a in ids for b in ids)
    return replace(task, rows=rows, bands=(BAND,), trained=BAND, sampled=True)

"""Rows of tokens from a split of a project's text."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.project.project import Project

Rows = Int[Tensor, "row pos"]


def rows_for(project: Project, split: str, tokens: int) -> Rows:
    """Packed rows of a split of the project's text, about `tokens` tokens of them, in random order."""
    model = project.model
    count = max(2, tokens // row_tokens(model))
    if (split, count) not in project.packed:
        rows = packed_rows(getattr(project.texts, split), model, count, project.manifest.settings.seed)
        project.packed[split, count] = rows
    return project.packed[split, count]


def first_tokens(rows: Rows, tokens: int) -> Int[Tensor, "kept pos"]:
    """The first of `rows`, about `tokens` tokens of them: a sample, since rows are in random order."""
    return rows[: max(2, tokens // rows.shape[1])]

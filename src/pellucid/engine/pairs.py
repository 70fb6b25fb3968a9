"""Clean and corrupted prompts, pair by pair: in tokens, cut behind what a metric reads, together by length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.engine.metrics import Final, Metric, RowNumbers, require_answers
from pellucid.engine.subjects import Text
from pellucid.exact.model import Model
from pellucid.exact.rows import Rows


@dataclass(frozen=True)
class CutMetric:
    """A metric of prompts that are cut behind the position that it reads; `numbers` are theirs among all."""

    metric: Metric
    numbers: Int[Tensor, " prompt"]
    position: int = -1

    def __call__(self, model: Model, final: Final, rows: RowNumbers) -> Float[Tensor, " n"]:
        """The metric of prompts by their places here."""
        return self.metric(model, final, self.numbers.to(rows.device)[rows])


@dataclass(frozen=True)
class Pairs:
    """Pairs of one length, up to the position that is read; `behind` tokens come after it in each prompt."""

    base: Int[Tensor, "prompt pos"]
    source: Int[Tensor, "prompt pos"]
    metric: CutMetric
    behind: int

    @property
    def numbers(self) -> Int[Tensor, " prompt"]:
        """Which of all pairs these are."""
        return self.metric.numbers

    def __len__(self) -> int:
        return len(self.base)


def paired(model: Model, base: Text, source: Text, metric: Metric) -> list[Pairs]:
    """The pairs of `base` and `source` up to the position that `metric` reads, the longest first.

    Raises `PellucidError` where a pair's prompts differ in length, where the metric's position is in none of them, and
    where its answers are for another number of prompts.
    """
    sides = [model.rows(text) for text in (base, source)]
    require_match(model, *sides)
    require_answers(metric, len(sides[0]))
    reads = [index_of(metric.position, length, "the metric's position") for length in sides[0].lengths]
    rows = [[row[: read + 1] for row, read in zip(side.apart(), reads, strict=True)] for side in sides]
    kinds = [(read + 1, length - 1 - read) for length, read in zip(sides[0].lengths, reads, strict=True)]
    found = []
    for kind in sorted(set(kinds), reverse=True):
        numbers = [n for n, own in enumerate(kinds) if own == kind]
        ours, theirs = (torch.stack([side[n] for n in numbers]) for side in rows)
        found.append(Pairs(ours, theirs, CutMetric(metric, torch.tensor(numbers)), kind[1]))
    return found


def require_match(model: Model, base: Rows, source: Rows) -> None:
    """Raise `PellucidError` where clean and corrupted prompts are not as many, or two of a pair differ in length."""
    if len(base) != len(source):
        raise PellucidError(f"there are {len(base)} clean and {len(source)} corrupted prompts; they come in pairs")
    for ours, theirs in zip(base.apart(), source.apart(), strict=True):
        if len(ours) != len(theirs):
            raise PellucidError(
                f"{_shown(model, ours)} has {len(ours)} tokens and {_shown(model, theirs)} has {len(theirs)}; clean "
                "and corrupted prompts must match token by token"
            )


def index_of(at: int, size: int, what: str) -> int:
    """`at` counted from the start of `size`. Raises `PellucidError` where it is not among them."""
    if not -size <= at < size:
        raise PellucidError(f"{what} {at} is not among the {size} that there are (0 … {size - 1})")
    return at % size


def _shown(model: Model, ids: Int[Tensor, " pos"]) -> str:
    text = model.tokenizer.decode(ids.tolist())
    return repr(text if len(text) < 60 else text[:57] + "…")

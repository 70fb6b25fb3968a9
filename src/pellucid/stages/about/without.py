"""What the model says without a part at one place, exactly: the part's mean stands there, and the rest is run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import ProjectError
from pellucid.base.schema import fitting
from pellucid.base.work import Results, mapped
from pellucid.exact.cache import ModelCache
from pellucid.exact.model import Model

AFTER = 12
"""Tokens behind the place on which a change may show."""
SCRATCH = "scratch/what-parts-do.jsonl"
SPAN = 48
"""Tokens between the first and the last place of a row that are asked together: those before are remembered."""


@dataclass(frozen=True)
class Example:
    """A place where a part acts: the token it speaks for most, and what the model says instead without it.

    `place` counts through all rows; the prediction that changes most stands `later` tokens behind it. `said` and
    `unsaid` are the tokens that the part raises and lowers most there, with their probabilities `with_part` and
    `without_part`: (of said, of unsaid). `kl` is in nats.
    """

    place: int
    later: int
    said: int
    unsaid: int
    with_part: tuple[float, float]
    without_part: tuple[float, float]
    kl: float


@dataclass(frozen=True)
class Ablation:
    """One question: at which place which head of `L00.z`, or neuron of `L00.post`, has its mean."""

    place: int
    name: str
    index: int


def without(
    model: Model,
    rows: Int[Tensor, "row pos"],
    means: Mapping[str, Tensor],
    asked: Sequence[Ablation],
    results: Results[list[Example]] | None = None,
) -> list[Example]:
    """What each of `asked` changes at places of `rows`; `means` has the mean of every activation that they name.

    A row is read once; what stands before a place is not computed again. A run that is killed goes on behind the last
    row whose `results` are kept.
    """
    length = rows.shape[1]
    order = sorted(range(len(asked)), key=lambda n: asked[n].place)
    by_row = [[*numbers] for _, numbers in groupby(order, key=lambda n: asked[n].place // length)]
    at = [question.place % length for question in asked]

    def of_row(numbers: list[int]) -> list[Example]:
        """The answers to the questions about one row, in their order."""
        row = asked[numbers[0]].place // length
        ids, remembered = rows[row : row + 1], ModelCache().grown(length)
        with torch.no_grad():
            final = model.run(ids, ("final",), cache=remembered)["final"][0]
        groups = ([asked[n] for n in group] for group in _groups(numbers, at))
        return [found for group in groups for found in _answers(model, ids[0], final, remembered, means, group)]

    found: dict[int, Example] = {}
    answers = mapped(of_row, by_row, "what parts do", results=results)
    for numbers, own in zip(by_row, answers, strict=True):
        found |= dict(zip(numbers, own, strict=True))
    return [found[n] for n in range(len(asked))]


def results_in(directory: Path, about: str) -> Results[list[Example]]:
    """Where the answers about rows are kept in a project directory, until all are there."""

    def load(data: object) -> list[Example]:
        return fitting(list[Example], data, SCRATCH, ProjectError)

    return Results(directory / SCRATCH, about, lambda own: [*map(asdict, own)], load)


def _groups(numbers: Sequence[int], at: Sequence[int]) -> Iterator[list[int]]:
    """Questions of one row that lie close together."""
    group: list[int] = []
    for number in numbers:
        if group and at[number] - at[group[0]] >= SPAN:
            yield group
            group = []
        group.append(number)
    yield group


def _answers(
    model: Model,
    ids: Int[Tensor, " pos"],
    final: Float[Tensor, "pos model"],
    remembered: ModelCache,
    means: Mapping[str, Tensor],
    asked: Sequence[Ablation],
) -> Iterator[Example]:
    """The same for questions about one row, whose final stream and cache are known."""
    at = torch.tensor([question.place % len(ids) for question in asked])
    start, end = int(at.min()), min(len(ids), int(at.max()) + 1 + AFTER)
    cache = remembered.take(np.zeros(len(asked), np.int64), start).grown(end - start)
    edits = {name: _with_means(name, asked, at - start, means[name]) for name in {q.name for q in asked}}
    with torch.no_grad():
        changed = model.run(ids[None, start:end].expand(len(asked), -1), ("final",), edits=edits, cache=cache)["final"]
        for question, place, other in zip(asked, at.tolist(), changed, strict=True):
            seen = slice(place, min(end, place + 1 + AFTER))
            own = model.unembed(final[None, seen])[0].log_softmax(-1)
            said = model.unembed(other[None, place - start : seen.stop - start])[0].log_softmax(-1)
            yield _example(question.place, own, said)


def _with_means(
    name: str, asked: Sequence[Ablation], at: Int[Tensor, " question"], mean: Tensor
) -> Callable[[Tensor], Tensor]:
    """What puts the mean of each question's part, where that is in `name`, in its place."""
    rows = torch.tensor([n for n, question in enumerate(asked) if question.name == name])
    index = torch.tensor([asked[n].index for n in rows.tolist()])

    def edit(value: Tensor) -> Tensor:
        value = value.clone()
        value[rows, at[rows], index] = mean.to(value)[index]
        return value

    return edit


def _example(place: int, own: Float[Tensor, "after vocab"], other: Float[Tensor, "after vocab"]) -> Example:
    """The prediction among those behind a place that differs most."""
    kl = (own.exp() * (own - other)).sum(-1)
    later = int(kl.argmax())
    own, other = own[later], other[later]
    said = int((own.exp() * (own - other)).argmax())
    unsaid = int((other.exp() * (other - own)).argmax())
    probabilities = [(float(x[said].exp()), float(x[unsaid].exp())) for x in (own, other)]
    return Example(place, later, said, unsaid, probabilities[0], probabilities[1], float(kl[later]))

"""What the model says without a part at one place, exactly: the part's mean stands there, and the rest is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.model import Model

AFTER = 12
"""Tokens behind the place on which a change may show."""
BATCH = 2048
"""Tokens that are run at a time."""


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
class Asked:
    """One question: which place, and which part of the activation has its mean there."""

    place: int
    index: int


def without(
    model: Model, rows: Int[Tensor, "row pos"], name: str, mean: Tensor, asked: Sequence[Asked]
) -> list[Example]:
    """What each of `asked` changes: places of `rows`, heads of `L00.z` or neurons of `L00.post` as `name` says."""
    order = sorted(
        range(len(asked)), key=lambda n: asked[n].place % rows.shape[1]
    )  # rows are cut behind the last place
    found: dict[int, Example] = {}
    first = 0
    while first < len(order):
        end = first + 1
        while end < len(order) and (end + 1 - first) * _length(asked[order[end]], rows) <= BATCH:
            end += 1
        chosen = order[first:end]
        found |= dict(zip(chosen, _batch(model, rows, name, mean, [asked[n] for n in chosen]), strict=True))
        first = end
    return [found[n] for n in range(len(asked))]


def _length(asked: Asked, rows: Int[Tensor, "row pos"]) -> int:
    """How many tokens of its row are run."""
    return min(rows.shape[1], asked.place % rows.shape[1] + 1 + AFTER)


def _batch(
    model: Model, rows: Int[Tensor, "row pos"], name: str, mean: Tensor, asked: Sequence[Asked]
) -> list[Example]:
    length = rows.shape[1]
    row = torch.tensor([question.place // length for question in asked])
    at = torch.tensor([question.place % length for question in asked])
    index = torch.tensor([question.index for question in asked])
    ids = rows[row, : max(_length(question, rows) for question in asked)]
    before = f"{name.partition('.')[0]}.{'resid_pre' if name.endswith('.z') else 'resid_mid'}"
    with torch.no_grad():
        clean = model.run(ids, (before, name, "final"))
        changed = clean[name].clone()
        changed[torch.arange(len(asked)), at, index] = mean.to(changed)[index]
        final = model.run(ids, ("final",), given={before: clean[before], name: changed})["final"]
        window = at[:, None] + torch.arange(1 + AFTER)
        seen = window < ids.shape[1]
        window = window.clamp(max=ids.shape[1] - 1)
        each = torch.arange(len(asked))[:, None]
        own, other = (model.unembed(x[each, window]).log_softmax(-1) for x in (clean["final"], final))
    return [_example(asked[n].place, own[n][seen[n]], other[n][seen[n]]) for n in range(len(asked))]


def _example(place: int, own: Float[Tensor, "after vocab"], other: Float[Tensor, "after vocab"]) -> Example:
    """The prediction among those behind a place that differs most."""
    kl = (own.exp() * (own - other)).sum(-1)
    later = int(kl.argmax())
    own, other = own[later], other[later]
    said = int((own.exp() * (own - other)).argmax())
    unsaid = int((other.exp() * (other - own)).argmax())
    probabilities = [(float(x[said].exp()), float(x[unsaid].exp())) for x in (own, other)]
    return Example(place, later, said, unsaid, probabilities[0], probabilities[1], float(kl[later]))

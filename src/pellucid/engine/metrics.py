"""Metrics: one number a prompt, from what the model says at one position.

A metric reads the final stream rather than logits, so that one that needs few logits computes no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import token_id
from pellucid.exact.model import Model

Final = Float[Tensor, "n model"]
RowNumbers = Int[Tensor, " n"]
Answers = str | int | Sequence[str | int | Sequence[str | int]]
"""An answer for all prompts, or one each (or several each, whose logits are averaged)."""


@runtime_checkable
class Metric(Protocol):
    """A number for each of some final streams; gradients flow through."""

    @property
    def position(self) -> int:
        """The position that is read, the same in every prompt."""
        ...

    def __call__(self, model: Model, final: Final, rows: RowNumbers) -> Float[Tensor, " n"]:
        """The metric of the final streams (behind the last norm) at its position, of the prompts with these numbers."""
        ...


@dataclass(frozen=True)
class LogitDifference:
    """The mean logit of each prompt's `answers` minus that of what is said `instead` (nothing: 0)."""

    answers: tuple[tuple[int, ...], ...]
    """The tokens of the answers of each prompt; a single entry is for all."""
    instead: tuple[tuple[int, ...], ...] = ()
    """The tokens of what is subtracted, likewise."""
    position: int = -1
    """The position that is read; negative ones count from the end."""

    def __post_init__(self) -> None:
        if self.instead and len(self.answers) != len(self.instead) and 1 not in (len(self.answers), len(self.instead)):
            raise PellucidError(
                f"there are {len(self.answers)} answers and {len(self.instead)} to say instead; give one for all, or "
                "one for each prompt"
            )
        if not self.answers or any(not tokens for tokens in (*self.answers, *self.instead)):
            raise PellucidError("a prompt has no answer; give at least one token for each")

    @property
    def prompts(self) -> int | None:
        """How many prompts the answers are for; None where one is for all."""
        count = max(len(self.answers), len(self.instead))
        return None if count == 1 else count

    def directions(self, model: Model) -> Float[Tensor, "row model"]:
        """What the final stream of each prompt is multiplied by."""
        table = model.unembedding
        sides = [
            torch.stack([table[list(tokens)].mean(0) for tokens in side])
            for side in (self.answers, self.instead)
            if side
        ]
        return sides[0] if len(sides) == 1 else sides[0] - sides[1]

    def __call__(self, model: Model, final: Final, rows: RowNumbers) -> Float[Tensor, " n"]:
        """The difference for each prompt."""
        if model.decoder.logit_cap is not None:  # logits are no projections of the stream
            logits = model.unembed(final[:, None])[:, 0]
            sides = [self._means(logits, rows, side) for side in (self.answers, self.instead) if side]
            return sides[0] if len(sides) == 1 else sides[0] - sides[1]
        directions = self.directions(model)
        return (final * (directions if len(directions) == 1 else directions[rows])).sum(-1)

    @staticmethod
    def _means(logits: Float[Tensor, "n vocab"], rows: RowNumbers, side: tuple[tuple[int, ...], ...]) -> Tensor:
        """For each prompt the mean logit of the tokens that `side` has for it."""
        own = [side[0] if len(side) == 1 else side[row] for row in rows.tolist()]
        return torch.stack([line[list(tokens)].mean() for line, tokens in zip(logits, own, strict=True)])


@dataclass(frozen=True)
class OfLogits:
    """Any function of logits [n, vocab] and the numbers of their prompts [n] that gives a number each."""

    function: Callable[[Tensor, Tensor], Tensor]
    position: int = -1
    prompts: int | None = None
    """How many prompts it is for; None where it is the same for all."""

    def __call__(self, model: Model, final: Final, rows: RowNumbers) -> Float[Tensor, " n"]:
        """The function's value for each prompt."""
        logits = model.unembed(final[:, None])[:, 0]
        value = self.function(logits, rows)
        if not isinstance(value, Tensor) or value.shape != rows.shape:
            got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PellucidError(f"the metric returned {got}, expected a number for each of {len(rows)} prompts")
        return value


def require_answers(metric: Metric, prompts: int) -> None:
    """Raise `PellucidError` where `metric` has answers for another number of prompts than there are."""
    if isinstance(metric, LogitDifference | OfLogits) and metric.prompts not in (None, prompts):
        raise PellucidError(
            f"the metric has answers for {metric.prompts} prompts, and {prompts} {'is' if prompts == 1 else 'are'} "
            "given; give one answer for all, or one for each prompt (several for one prompt, as a list within the list)"
        )


def logit_difference(
    model: Model, answers: Answers, instead: Answers | None = None, position: int = -1
) -> LogitDifference:
    """The metric for answers given as text or ids.

    Args:
        model: The model whose tokens the answers are.
        answers: What should be said: one token for all prompts, or one or several for each, as text or ids.
        instead: What could be said in its place; 0 is subtracted without it.
        position: The position that is read; negative ones count from the end.

    Returns:
        The metric, in logits.

    Raises:
        PellucidError: An answer that is not one token, none for a prompt, or numbers of answers that differ.
    """
    return LogitDifference(_ids(model, answers), () if instead is None else _ids(model, instead), position)


def _ids(model: Model, answers: Answers) -> tuple[tuple[int, ...], ...]:
    if isinstance(answers, str | int):
        return ((_id(model, answers),),)
    return tuple(
        (_id(model, each),) if isinstance(each, str | int) else tuple(_id(model, one) for one in each)
        for each in answers
    )


def _id(model: Model, answer: str | int) -> int:
    return token_id(model, answer) if isinstance(answer, str) else answer


def divergence_from(model: Model, logits: Float[Tensor, "row vocab"], position: int = -1) -> OfLogits:
    """Minus the KL (nats) of the reference distributions `logits` from what is said: 0 where they are the same."""
    reference = logits.float().log_softmax(-1)

    def function(said: Tensor, rows: Tensor) -> Tensor:
        ours = reference if len(reference) == 1 else reference[rows.to(reference.device)]
        return -(ours.exp() * (ours - said.float().log_softmax(-1))).sum(-1).to(model.dtype)

    return OfLogits(function, position, len(reference) if len(reference) > 1 else None)

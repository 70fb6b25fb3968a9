"""How a dictionary is trained: what it is of, how wide, how its features are chosen, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pellucid.base.errors import PellucidError
from pellucid.dictionary.dictionary import Kind

Choice = Literal["topk", "batchtopk", "jumprelu", "matryoshka"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
LEAST = 20
"""Tokens for each feature, at least: fewer, and most features are what they were drawn as."""


@dataclass(frozen=True)
class Recipe:
    """How a dictionary is trained.

    `choice` says which features fire: the `k` largest of a place (`topk`), of a batch `k` a place on average
    (`batchtopk`), those above thresholds that learn to let `k` through (`jumprelu`), or as `batchtopk`, where also the
    first eighth, quarter and half of all features must do by themselves (`matryoshka`).
    """

    kind: Kind = "sae"
    choice: Choice = "batchtopk"
    width: int = 512
    k: int = 32
    tokens: int = 1_000_000
    batch: int = 1024
    rate: float = 1e-3
    warm: float = 0.02
    """Share of the steps over which the rate grows to its value."""
    decay: float = 0.2
    """Share of the steps, at the end, over which it falls to 0."""
    revive: float = 1 / 32
    """Weight of the loss by which features that are dead learn what is missed."""
    dead: int = 100_000
    """Places after which a feature that has not fired is dead."""
    bandwidth: float = 0.1
    """How near to its threshold, of features that fire above thresholds, a place teaches it."""
    sparsity: float = 0.3
    """Weight of how far the number of features that fire is from `k`, for those."""
    seed: int = 0

    @property
    def steps(self) -> int:
        """Batches."""
        return max(1, self.tokens // self.batch)

    def rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        warm, decay = max(1, round(self.warm * self.steps)), max(1, round(self.decay * self.steps))
        return self.rate * min(1.0, (step + 1) / warm, (self.steps - step) / decay)

    def checked(self) -> Recipe:
        """This recipe, if it can be followed. Raises `PellucidError` quoting what cannot."""
        if not 1 <= self.k <= self.width:
            raise PellucidError(f"k is {self.k}, expected 1 to {self.width}, the features that there are")
        if self.tokens < (needed := max(self.batch, LEAST * self.width)):
            raise PellucidError(
                f"{self.tokens:,} tokens are too few for {self.width:,} features: expected {needed:,} or more "
                f"({LEAST} a feature, and a batch); give more text, or a smaller --width"
            )
        return self


def width_in(text: str, read: int) -> int:
    """The width that `text` says: a number, or `8x`, so many times the `read` numbers. Raises `PellucidError`."""
    number = text.removesuffix("x")
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= 1 << 24:
        raise PellucidError(f"--width is {text!r}, expected a number of features such as 4096, or 8x")
    return int(number) * (read if text.endswith("x") else 1)

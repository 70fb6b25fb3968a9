"""Writing on behind a prompt: the likeliest token or a drawn one, to the end of the text, a stop string, or no room.

Every row draws from a generator of its own (`seed` plus its number), so what is written behind a prompt does not depend
on what is written beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pellucid.base.errors import PellucidError
from pellucid.base.shaped import Float32, Float64, Int64, Integer

Ended = Literal["end", "stop", "tokens", "context"]
"""Why writing ended: the text did, a stop string came, all tokens that were asked for did, or the context was full."""


@runtime_checkable
class Extends(Protocol):
    """What can go on: logits of new tokens behind those that a cache holds."""

    @property
    def n_ctx(self) -> int:
        """The most positions that a row can have."""
        ...

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: Any = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], Any]:
        """The logits after each of `ids` (or after the last only), and the cache that holds them too."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen: the likeliest at temperature 0, else drawn among the likeliest that hold `top_p` of all.

    Raises `PellucidError` for a temperature below 0, a `top_p` that is no share, or a negative seed.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise PellucidError(f"the temperature is {self.temperature}, expected 0 (the likeliest token) or more")
        if not 0 < self.top_p <= 1:
            raise PellucidError(f"top_p is {self.top_p}, expected a share of the probability above 0 and up to 1")
        if self.seed < 0:
            raise PellucidError(f"the seed is {self.seed}, expected 0 or more")

    def generator(self, row: int = 0) -> np.random.Generator | None:
        """What row number `row` draws from; None at temperature 0, where nothing is drawn."""
        return np.random.default_rng(self.seed + row) if self.temperature else None

    def __call__(self, logits: Float32[np.ndarray, " vocab"], rng: np.random.Generator | None) -> int:
        """A token; of equally likely ones the smaller id comes first."""
        if not self.temperature:
            return int(logits.argmax())
        assert rng is not None, "at a temperature above 0 there is a generator"
        scaled = logits.astype(np.float64) - float(logits.max())
        mass = np.exp(scaled / self.temperature)
        order = np.argsort(-mass, kind="stable")
        shares = np.cumsum(mass[order]) / mass.sum()
        kept = int(np.searchsorted(shares, self.top_p)) + 1 if self.top_p < 1 else len(shares)
        kept = min(kept, int((mass > 0).sum()))
        return int(order[_drawn(shares[:kept], rng)])


def _drawn(shares: Float64[np.ndarray, " kept"], rng: np.random.Generator) -> int:
    """A number of one of the stretches that end at `shares`."""
    return min(int(np.searchsorted(shares, rng.random() * shares[-1], side="right")), len(shares) - 1)


@dataclass(frozen=True)
class Continuation:
    """What was written behind a prompt: tokens (without one that ends the text), their text up to a stop string."""

    ids: tuple[int, ...]
    text: str
    ended: Ended


@dataclass(frozen=True)
class Until:
    """Where writing ends: at one of the tokens `ends`, before one of the strings `stop`, or behind `tokens` tokens."""

    tokens: int
    ends: Sequence[int] = ()
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise PellucidError(f"{self.tokens} tokens are asked for, expected 0 or more")
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise PellucidError(f"stop is {self.stop!r}, expected a list of texts that are not empty")

    def cut(self, text: str) -> str | None:
        """`text` up to the first stop string, None where there is none."""
        at = [found for stop in self.stop if (found := text.find(stop)) >= 0]
        return text[: min(at)] if at else None


def write(
    predictor: Extends,
    prompts: Int64[np.ndarray, "batch pos"],
    choice: Sampling,
    until: Until,
    spell: Callable[[int, Sequence[int]], str],
    rows: Sequence[int] | None = None,
) -> list[Continuation]:
    """What `predictor` writes behind `prompts` of one length; `spell` gives the text of a row's new tokens.

    `rows` are the numbers by which rows draw, those of the batch by default.
    """
    numbers = range(len(prompts)) if rows is None else rows
    draws = [choice.generator(number) for number in numbers]
    said: list[list[int]] = [[] for _ in prompts]
    ended: list[Ended | None] = [None if until.tokens else "tokens" for _ in prompts]
    cache, new, length = None, prompts, prompts.shape[1]
    while None in ended:
        logits, cache = predictor.extend(new, cache, last_only=True)
        new = np.zeros((len(prompts), 1), np.int64)
        for row, own in enumerate(said):
            if ended[row] is None:
                new[row] = token = choice(logits[row, -1], draws[row])
                ended[row] = _ended(own, token, until, lambda ids, row=row: spell(row, ids))  # type: ignore[misc]
        length += 1
        if length > predictor.n_ctx:
            ended = [why or "context" for why in ended]
    found = []
    for row, own in enumerate(said):
        text = spell(row, own)
        why = ended[row]
        assert why is not None
        found.append(Continuation(tuple(own), text if (cut := until.cut(text)) is None else cut, why))
    return found


def _ended(said: list[int], token: int, until: Until, spell: Callable[[Sequence[int]], str]) -> Ended | None:
    """Adds `token` to what was said, unless it ends the text; whether and why writing ends there."""
    if token in until.ends:
        return "end"
    said.append(token)
    if until.stop and until.cut(spell(said)) is not None:
        return "stop"
    return "tokens" if len(said) == until.tokens else None

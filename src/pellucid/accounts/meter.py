"""The meter of accounts: how much of a text they cover, how often they are right there, for all and for hard positions.

A position is covered where an account speaks; it is right where it says the token that the model says. What counts as
covering is decided before, on check text, by `reliable`: of each rule the lower bound of its own precision must reach
`LEAST`. Everything is given for all positions and for hard ones (`ngrams`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

LEAST = 0.95
"""A rule covers where the lower bound of its precision on check text is at least this."""
NOBODY = -1
"""In the place of a rule or a token where no account speaks."""


@dataclass(frozen=True)
class Proportion:
    """How often something holds: `hits` of `n`, with a Wilson interval of 95 %; all None where there is nothing."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval (1927)."""
        return wilson(self.hits, self.n) if self.n else None

    def to_dict(self) -> dict[str, Any]:
        """As reports hold it."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "low": low, "high": high, "n": self.n}


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `n` were seen. Raises `ValueError` for none."""
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"expected 0 to {n} hits of at least one, not {hits} of {n}")
    share, half = hits / n, z * z / n
    centre = share + half / 2
    spread = z * math.sqrt(share * (1 - share) / n + half / (4 * n))
    return max(0.0, (centre - spread) / (1 + half)), min(1.0, (centre + spread) / (1 + half))


@dataclass(frozen=True)
class Spoken:
    """What accounts say at every place of a text: the token and the rule that says so, `NOBODY` where none speaks."""

    token: Int[Tensor, "row pos"]
    rule: Int[Tensor, "row pos"]


@dataclass(frozen=True)
class Metered:
    """Figures of accounts on a text: of some positions (all of them, or the hard ones)."""

    covered: Proportion
    precision: Proportion
    top1: Proportion
    """Of the account program, which says what a back-off says where no account speaks."""
    back_off: Proportion
    """Top-1 of the back-off alone."""

    def to_dict(self) -> dict[str, Any]:
        """As reports hold it."""
        return {name: getattr(self, name).to_dict() for name in asdict(self)}


def rule_shares(spoken: Spoken, own: Int[Tensor, "row pos"], rules: int) -> list[Proportion]:
    """How often each rule is right where it speaks; `own` are the tokens that the model says."""
    there = spoken.rule != NOBODY
    n = spoken.rule[there].bincount(minlength=rules)
    hits = spoken.rule[there & (spoken.token == own)].bincount(minlength=rules)
    return [Proportion(int(hit), int(of)) for hit, of in zip(hits, n, strict=True)]


def reliable(shares: list[Proportion]) -> Bool[Tensor, " rule"]:
    """The rules whose precision has a lower bound of at least `LEAST`; those that never spoke are not among them."""
    bounds = [share.interval for share in shares]
    return torch.tensor([bound is not None and bound[0] >= LEAST for bound in bounds], dtype=torch.bool)


def meter(
    spoken: Spoken,
    own: Int[Tensor, "row pos"],
    back_off: Int[Tensor, "row pos"],
    hard: Bool[Tensor, "row pos"],
    covering: Bool[Tensor, " rule"],
) -> Mapping[str, Metered]:
    """The figures for `all` positions and for the `hard` ones.

    `own` are the model's likeliest tokens, `back_off` those of the back-off, `covering` says which rules count as
    covering. The program says what any rule says, whether that counts or not.
    """
    speaks = spoken.rule != NOBODY
    counts = torch.zeros_like(speaks)
    counts[speaks] = covering[spoken.rule[speaks]]
    said = torch.where(speaks, spoken.token, back_off)
    return {name: _metered(chosen, counts, spoken.token == own, said == own, back_off == own)
            for name, chosen in (("all", torch.ones_like(hard)), ("hard", hard))}  # fmt: skip


def _metered(
    chosen: Bool[Tensor, "row pos"],
    counts: Bool[Tensor, "row pos"],
    right: Bool[Tensor, "row pos"],
    program: Bool[Tensor, "row pos"],
    back_off: Bool[Tensor, "row pos"],
) -> Metered:
    n, covered = int(chosen.sum()), int((chosen & counts).sum())
    return Metered(
        Proportion(covered, n),
        Proportion(int((chosen & counts & right).sum()), covered),
        Proportion(int((chosen & program).sum()), n),
        Proportion(int((chosen & back_off).sum()), n),
    )

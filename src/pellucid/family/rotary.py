"""Rotary positions: pairs of coordinates of queries and keys are turned by angles that grow with the position.

RoFormer (Su et al., arXiv 2104.09864). What stretches them to longer texts changes the rates at which they turn:
`Linear` (kaiokendev, 2023), `Llama3` (arXiv 2407.21783), `Yarn` (arXiv 2309.00071).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float32

if TYPE_CHECKING:  # a config is read without PyTorch
    from torch import Tensor

    Rates = Float32[Tensor, " pair"]


@dataclass(frozen=True)
class Linear:
    """All rates divided by `factor`."""

    factor: float

    def rates(self, rates: Rates) -> Rates:
        """The stretched rates."""
        return rates / self.factor


@dataclass(frozen=True)
class Llama3:
    """Slow pairs are divided by `factor`, fast ones kept, and those between mixed; `trained` is the former length."""

    factor: float
    low: float
    high: float
    trained: int

    def rates(self, rates: Rates) -> Rates:
        """The stretched rates."""
        import torch

        lengths = 2 * math.pi / rates
        slowed = torch.where(lengths > self.trained / self.low, rates / self.factor, rates)
        share = (self.trained / lengths - self.low) / (self.high - self.low)
        mixed = (1 - share) * slowed / self.factor + share * slowed
        between = ~(lengths < self.trained / self.high) * ~(lengths > self.trained / self.low)
        return torch.where(between, mixed, slowed)


@dataclass(frozen=True)
class Yarn:
    """Rates mixed by how often a pair turns within the `trained` length; `amplitude` multiplies cosines and sines."""

    factor: float
    trained: int
    amplitude: float
    fast: float = 32.0
    slow: float = 1.0
    truncate: bool = True

    def rates(self, base: float, dims: int) -> Rates:
        """The stretched rates of `dims` coordinates that turn with `base`."""
        import torch

        powers = base ** (torch.arange(0, dims, 2).to(dtype=torch.float) / dims)
        kept = 1 - self._ramp(*self._range(base, dims), dims // 2)
        return 1.0 / (self.factor * powers) * (1 - kept) + 1.0 / powers * kept

    def _range(self, base: float, dims: int) -> tuple[float, float]:
        """The numbers of the first and the last pair that are mixed."""
        low, high = (
            dims * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(base))
            for turns in (self.fast, self.slow)
        )
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        return max(float(low), 0.0), min(float(high), float(dims - 1))

    @staticmethod
    def _ramp(low: float, high: float, pairs: int) -> Rates:
        import torch

        high = high + 0.001 if low == high else high
        return torch.clamp((torch.arange(pairs, dtype=torch.float32) - low) / (high - low), 0, 1)


@dataclass(frozen=True)
class Rotary:
    """Positions turn the first `dims` coordinates of each query and key; the first half is paired with the second."""

    base: float
    dims: int
    stretch: Linear | Llama3 | Yarn | None = None

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by."""
        return self.stretch.amplitude if isinstance(self.stretch, Yarn) else 1.0

    def rates(self) -> Rates:
        """Radians by which each pair turns from one position to the next."""
        import torch

        if isinstance(self.stretch, Yarn):
            return self.stretch.rates(self.base, self.dims)
        plain = 1.0 / (self.base ** (torch.arange(0, self.dims, 2, dtype=torch.float) / self.dims))
        return plain if self.stretch is None else self.stretch.rates(plain)

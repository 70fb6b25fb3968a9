"""Forms of lifted parts, whose vectors are data: what they make of a part's own output, in its own coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.address import Address


@dataclass(frozen=True, eq=False)
class Lifted:
    """A head's OV along a few directions of what it mixes (z): mean + (z − mean) · read · write. Rank 0 is its mean."""

    address: Address
    mean: Float[Tensor, " dim"]
    read: Float[Tensor, "dim rank"]
    write: Float[Tensor, "rank dim"]

    @property
    def rank(self) -> int:
        """How many directions."""
        return self.read.shape[1]

    def twin(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """What the head carries in the place of `z`."""
        centred: Tensor = z - self.mean.to(z)
        return self.mean.to(z) + (centred @ self.read.to(z)) @ self.write.to(z)


@dataclass(frozen=True)
class Still:
    """A neuron's OUT that is the same everywhere: what it writes at its mean post-activation."""

    address: Address
    post: float

    @property
    def rank(self) -> int:
        """No directions: a mean."""
        return 0

    def twin(self, post: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The post-activation in the place of `post`."""
        return torch.full_like(post, self.post)


Stored = Lifted | Still

"""Forms of lifted parts, whose vectors are data: what they make of a part's own output, in its own coordinates."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, eq=False)
class Channel:
    """A neuron's IN along the channels of its layer: pre-activation = x · read · write + bias, x what LN2 leaves."""

    address: Address
    read: Float[Tensor, "model rank"]
    write: Float[Tensor, " rank"]
    bias: float

    @property
    def rank(self) -> int:
        """How many channels."""
        return self.read.shape[1]

    def twin(self, x: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch"]:
        """The pre-activation, from the normed residual stream."""
        said: Tensor = (x @ self.read.to(x)) @ self.write.to(x) + self.bias
        return said


@dataclass(frozen=True, eq=False)
class Compares:
    """A head's QK along a few directions: score = (x_q · read_q + bias) · (x_k · read_k) · scale, x what LN1 leaves."""

    address: Address
    read_q: Float[Tensor, "model rank"]
    read_k: Float[Tensor, "model rank"]
    bias: Float[Tensor, " rank"]

    @property
    def rank(self) -> int:
        """How many directions."""
        return self.read_q.shape[1]

    def twin(self, x: Float[Tensor, "batch pos model"], scale: float) -> Float[Tensor, "batch query key"]:
        """The scores of all pairs, from the normed residual stream; those of later keys mean nothing."""
        query, key = x @ self.read_q.to(x) + self.bias.to(x), x @ self.read_k.to(x)
        scores: Tensor = query @ key.transpose(1, 2) * scale
        return scores


def stacked(
    channels: Sequence[Channel],
) -> tuple[Float[Tensor, "model rank"], Float[Tensor, "rank neuron"], Float[Tensor, " neuron"]]:
    """What neurons of a layer read together, which read the same channels: directions, weights and biases."""
    write = torch.stack([form.write for form in channels], 1)
    return channels[0].read, write, torch.tensor([form.bias for form in channels])


Stored = Lifted | Still | Channel | Compares

"""A norm with its numbers: what it puts out, what it divides by, gradients through it. One object for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.family.blocks import Norm


@dataclass(frozen=True)
class NormView:
    """`norm` of one layer: (x − its mean, if it centres) / `scale` · `gain` + `bias`."""

    norm: Norm
    stored: Float[Tensor, " width"]
    bias: Float[Tensor, " width"] | None

    @staticmethod
    def of(norm: Norm, weights: Mapping[str, Tensor], layer: int = 0) -> NormView:
        """The norm with its numbers in `weights`; they are not copied."""
        gain, *bias = (weights[name] for name in norm.names(layer))
        return NormView(norm, gain, bias[0] if bias else None)

    @property
    def gain(self) -> Float[Tensor, " width"]:
        """What each coordinate is multiplied by."""
        return 1.0 + self.stored if self.norm.plus_one else self.stored

    def centred(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        """`x` without its mean, where the norm takes it off."""
        return x - x.mean(-1, keepdim=True) if self.norm.kind == "layer" else x

    def scale(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows one"]:
        """What `x` is divided by."""
        return torch.sqrt(self.centred(x).square().mean(-1, keepdim=True) + self.norm.epsilon)

    def changed(
        self, x: Float[Tensor, "*rows width"], change: Float[Tensor, "*rows width"]
    ) -> Float[Tensor, "*rows width"]:
        """The change behind the norm when `change` is added to `x`; the scale is that of the changed stream."""
        before, after = x, x + change
        moved = self.centred(after) / self.scale(after) - self.centred(before) / self.scale(before)
        return moved * self.gain

    def pull_back(
        self, gradient: Float[Tensor, "*more width"], x: Float[Tensor, "*rows width"], *, frozen: bool = False
    ) -> Float[Tensor, "*more width"]:
        """The gradient at the input `x` given that at the output; `frozen`: as if the scale were constant.

        `gradient` may have axes before those of `x`.
        """
        scale, gained = self.scale(x), gradient * self.gain
        back = self.centred(gained)
        if not frozen:
            normed = self.centred(x) / scale
            back = back - normed * (gained * normed).mean(-1, keepdim=True)
        return back / scale

    def part(
        self, write: Float[Tensor, "*more width"], scale: Float[Tensor, "*rows one"]
    ) -> Float[Tensor, "*more width"]:
        """What comes out of one of the writes that are normed together, given the scale of their sum; no bias."""
        return self.centred(write) / scale * self.gain

    def folded(self, row: Float[Tensor, "*rows width"]) -> tuple[Float[Tensor, "*rows width"], Float[Tensor, "*rows"]]:
        """The direction that says of x / scale what `row` says of the norm's output, and what the bias adds."""
        constant = row.new_zeros(row.shape[:-1]) if self.bias is None else row @ self.bias
        return self.centred(row * self.gain), constant

"""A dictionary: sparse features that stand for what a model computes at some places, and what they miss.

Of what passes at the places `reads`, each feature takes how far it fires; of what is to be said at the places `writes`,
it gives its vectors. A dictionary of one place has one *layer*; a cross-layer transcoder has one for each layer of its
model, whose features write there and in all layers above.

    before  = (scaled(x) − center) · encoder + bias
    firing  = relu(before)                          of all of them (`relu`)
            = before where before > threshold       (`jumprelu`)
            = relu(before) of the k largest         (`topk`, in each layer by itself)
    said    = Σ firing · decoder + offset (+ x · skip)
    missed  = y − said

`scaled` is what some dictionaries do to their input at run time: nothing, making its mean 0 and its deviation 1
(`layer-norm`), or making its length √d (`length`). That of an autoencoder is undone on what is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.base.errors import PellucidError

Kind = Literal["sae", "transcoder", "skip-transcoder", "crosslayer"]
Firing = Literal["relu", "jumprelu", "topk"]
Scaling = Literal["none", "layer-norm", "length"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOLERANCE = 1e-3
"""How far the length of a feature's vectors may be from 1 in a dictionary that says they are."""
_EPSILON = 1e-5
"""What published dictionaries with `layer-norm` add to the deviation."""


@dataclass(frozen=True)
class Origin:
    """Where a dictionary comes from; None where that is not known.

    `subject` is a name for people, `sha256` the hash of its weights, by which a dictionary for another model is told.
    `np` is its id in Neuronpedia, model and source: `gemma-2-2b/12-gemmascope-res-16k`. `trained` says how.
    """

    subject: str | None = None
    sha256: str | None = None
    np: str | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Features of what passes at `reads` (activations or hooks, one a layer) for what is said at `writes`."""

    kind: Kind
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    encoder: Float[Tensor, "layer read feature"] = field(repr=False)
    bias: Float[Tensor, "layer feature"] = field(repr=False)
    decoders: tuple[Float[Tensor, "_ feature write"], ...] = field(repr=False)
    """Of each layer's features, the vectors that they write in it and, of a cross-layer transcoder, in those above."""
    offset: Float[Tensor, "layer write"] = field(repr=False)
    firing: Firing
    thresholds: Float[Tensor, "layer feature"] | None = field(default=None, repr=False)
    k: int | None = None
    center: Float[Tensor, "layer read"] | None = field(default=None, repr=False)
    """What is taken from the scaled input; published autoencoders take their `offset`."""
    skip: Float[Tensor, "layer read write"] | None = field(default=None, repr=False)
    scaling: Scaling = "none"
    origin: Origin = field(default_factory=Origin)

    @property
    def layers(self) -> int:
        """How many places it reads."""
        return int(self.encoder.shape[0])

    @property
    def width(self) -> int:
        """Features of a layer."""
        return int(self.encoder.shape[2])

    @property
    def unit(self) -> bool:
        """Whether the vectors of each feature, all layers together, have length 1."""
        return bool(((self.lengths - 1).abs() <= TOLERANCE).all())

    @property
    def lengths(self) -> Float[Tensor, "layer feature"]:
        """The length of the vectors of each feature, all layers that it writes in together."""
        return torch.stack([vectors.square().sum((0, 2)).sqrt() for vectors in self.decoders])

    def before(self, x: Float[Tensor, "*batch layer read"]) -> Float[Tensor, "*batch layer feature"]:
        """What decides how far features fire on `x`."""
        return self._before(self._scaled(x)[0])

    def encode(self, x: Float[Tensor, "*batch layer read"]) -> Float[Tensor, "*batch layer feature"]:
        """How far each feature fires on `x`; 0 where it does not."""
        return self.fired(self.before(x))

    def fired(self, before: Float[Tensor, "*batch layer feature"]) -> Float[Tensor, "*batch layer feature"]:
        """How far each feature fires, from what decides it."""
        if self.firing == "topk":
            assert self.k is not None
            values, places = before.topk(self.k, dim=-1)
            return torch.zeros_like(before).scatter(-1, places, values.relu())
        if self.firing == "jumprelu":
            assert self.thresholds is not None
            return before * self._above(before)
        return before.relu()

    def decode(self, features: Float[Tensor, "*batch layer feature"]) -> Float[Tensor, "*batch layer write"]:
        """What features say that fire so far: in each layer its own and, of cross-layer ones, those of layers below.

        A skip connection reads the input and is no part of it, and neither is a scaling that is undone.
        """
        said = [self.offset[layer].expand(*features.shape[:-2], -1) for layer in range(self.layers)]
        for layer, vectors in enumerate(self.decoders):
            own = features[..., layer, :]
            for to, matrix in enumerate(vectors):
                said[layer + to] = said[layer + to] + own @ matrix
        return torch.stack(said, -2)

    def reconstruct(self, x: Float[Tensor, "*batch layer read"]) -> Float[Tensor, "*batch layer write"]:
        """What the dictionary says at `writes` where `x` passes at `reads`."""
        scaled, mean, deviation = self._scaled(x)
        said = self.decode(self.fired(self._before(scaled)))
        if self.scaling != "none" and self.kind == "sae":
            said = said * deviation + mean
        return said if self.skip is None else said + torch.einsum("...lr,lrw->...lw", x, self.skip)

    def residual(
        self, x: Float[Tensor, "*batch layer read"], y: Float[Tensor, "*batch layer write"]
    ) -> Float[Tensor, "*batch layer write"]:
        """What the dictionary misses of `y`, at `writes`, where `x` passes at `reads`: its error term."""
        return y - self.reconstruct(x)

    def normalised(self) -> Dictionary:
        """The same dictionary with vectors of length 1: features fire as much more as their vectors get shorter.

        Raises `PellucidError` where that would change which features fire: the k largest of features of unequal length.
        Vectors of length 0 stay as they are.
        """
        if self.unit:
            return self
        if self.firing == "topk":
            raise PellucidError(
                "the k features that fire most are others once their vectors are scaled to length 1; a TopK dictionary "
                "keeps the lengths that it was trained with"
            )
        lengths = self.lengths
        lengths = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
        thresholds = None if self.thresholds is None else self.thresholds * lengths
        decoders = tuple(one / own[:, None] for one, own in zip(self.decoders, lengths, strict=True))
        encoder, bias = self.encoder * lengths[:, None], self.bias * lengths
        return replace(self, encoder=encoder, bias=bias, thresholds=thresholds, decoders=decoders)

    def centered(self, center: Float[Tensor, "layer read"] | None) -> Dictionary:
        """The same dictionary, which takes `center` (None: nothing) from its input; its biases make up for it."""
        own = torch.zeros_like(self.encoder[:, :, 0]) if self.center is None else self.center
        new = torch.zeros_like(own) if center is None else center
        moved = self.bias + torch.einsum("lr,lrf->lf", new - own, self.encoder)
        return replace(self, bias=moved if (new != own).any() else self.bias, center=center)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Dictionary:
        """This dictionary on `device` in `dtype`."""

        def moved(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(moved, value))
            return value.to(device, dtype) if isinstance(value, Tensor) else value

        return replace(self, **{one.name: moved(getattr(self, one.name)) for one in fields(self)})

    def np_id(self, feature: int) -> str:
        """The id of `feature` in Neuronpedia. Raises `PellucidError` where there is none."""
        if self.origin.np is None:
            raise PellucidError("this dictionary has no id in Neuronpedia; those that are published there have one")
        if not 0 <= feature < self.width:
            raise PellucidError(f"there is no feature {feature}: the dictionary has {self.width:,}")
        return f"{self.origin.np}/{feature}"

    def _before(self, scaled: Float[Tensor, "*batch layer read"]) -> Float[Tensor, "*batch layer feature"]:
        centred = scaled if self.center is None else scaled - self.center
        return torch.einsum("...lr,lrf->...lf", centred, self.encoder) + self.bias

    def _above(self, before: Float[Tensor, "*batch layer feature"]) -> Bool[Tensor, "*batch layer feature"]:
        assert self.thresholds is not None
        return before > self.thresholds

    def _scaled(
        self, x: Float[Tensor, "*batch layer read"]
    ) -> tuple[
        Float[Tensor, "*batch layer read"],
        Float[Tensor, "*batch layer one"] | float,
        Float[Tensor, "*batch layer one"] | float,
    ]:
        """`x` scaled as the dictionary reads it, and the mean and the deviation that undo it."""
        if self.scaling == "layer-norm":
            mean = x.mean(-1, keepdim=True)
            deviation = (x - mean).std(-1, keepdim=True)
            return (x - mean) / (deviation + _EPSILON), mean, deviation
        if self.scaling == "length":
            deviation = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            return x / deviation, 0.0, deviation
        return x, 0.0, 1.0

"""What neurons and heads read, along few directions: the channels of a layer, and the directions that a head compares.

A layer's neurons have pre-activations W^T x + b, x the normed residual stream. Let C be the covariance of x and G the
second moment of the gradient of drawn log-likelihood at the pre-activations (see `lifting`). Reading x along k
directions that all neurons share costs least, as far as x and the gradient are independent, along the k leading left
singular vectors U of C^(1/2) W G^(1/2): x is replaced by mean + (x - mean) C^(-1/2) U U^T C^(1/2). They are the leading
eigenvectors of C^(1/2) (W G W^T) C^(1/2), so only W times gradients is gathered, as wide as x.

A head's scores are (x_q, 1)^T M x_k with M = [W_Q; b_Q] W_K^T; what the key's bias adds is the same for all keys and
vanishes in the softmax. The error of a score counts as much as its gradient is large, and only as far as it differs
between keys: with C_q the second moment of (x_q, 1) and C_k that of x_k less what the head sees on average, both
weighted by the square of the gradient at the score, the best M of rank r are the leading singular directions of
C_q^(1/2) M C_k^(1/2). Since M = A B^T is no wider than a head, they follow from the moments of queries A^T C_q A and of
keys B^T C_k B: with R and T their roots, M cut to rank r is A R^(-1) (U S V^T)_r T^(-1) B^T by the SVD of R T.

Directions of a lower rank are the first of those of a higher one, here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.exact.rules import head_weights
from pellucid.family.allowance import most_rank
from pellucid.forms.stored import Channel, Compares
from pellucid.measure.record import Recording

_FLAT = 1e-6
"""Directions whose variance is less than this share of the largest count as constant: they cannot be whitened."""
_FLAT_HEAD = 1e-10
"""The same for queries and keys of a head, of which one may be small where the other is large."""


@dataclass(frozen=True)
class Channels:
    """What the neurons of a layer read: pre-activations ≈ offset + (x − mean) · read[:, :r] · write[:r]."""

    mean: Float[Tensor, " model"]
    read: Float[Tensor, "model rank"]
    write: Float[Tensor, "rank neuron"]
    offset: Float[Tensor, " neuron"]

    def bias(self, rank: int) -> Float[Tensor, " neuron"]:
        """What is added to x · read · write at a rank."""
        return self.offset - (self.mean @ self.read[:, :rank]) @ self.write[:rank]

    def form(self, address: Address, rank: int) -> Channel:
        """The form of one neuron at a rank."""
        bias = self.offset[address.index] - self.mean @ self.read[:, :rank] @ self.write[:rank, address.index]
        return Channel(address, self.read[:, :rank], self.write[:rank, address.index], float(bias))

    def named(self, layer: int) -> dict[str, Tensor]:
        """The vectors as a program reads them."""
        at = f"L{layer:02d}.IN"
        tensors = {"read": self.read, "write": self.write, "centre": self.mean @ self.read, "offset": self.offset}
        return {f"{at}.{name}": tensor for name, tensor in tensors.items()}


@dataclass(frozen=True)
class Comparisons:
    """Where the heads of a layer look: scores ≈ ((x_q · read_q + bias) · (x_k · read_k)) · scale, cut to a rank."""

    read_q: Float[Tensor, "head model rank"]
    read_k: Float[Tensor, "head model rank"]
    bias: Float[Tensor, "head rank"]

    def form(self, address: Address, rank: int) -> Compares:
        """The form of one head at a rank."""
        q, k, bias = (part[address.index][..., :rank] for part in (self.read_q, self.read_k, self.bias))
        return Compares(address, q, k, bias)

    def named(self, layer: int) -> dict[str, Tensor]:
        """The vectors as a program reads them."""
        tensors = {"read_q": self.read_q, "read_k": self.read_k, "bias": self.bias}
        heads = range(len(self.bias))
        return {f"L{layer:02d}.H{h:02d}.QK.{name}": tensor[h] for h in heads for name, tensor in tensors.items()}


class ChannelMoments:
    """Second moments of what a layer reads and of the gradients there, gathered batch by batch.

    Of what its neurons read where `reads`, of what its heads compare where `looks`.
    """

    def __init__(self, model: Model, layer: int, reads: bool = True, looks: bool = True) -> None:
        decoder = model.decoder
        size, heads = decoder.sizes.model, decoder.sizes.head
        self.model, self.layer, self.count = model, layer, 0
        self.reads, self.looks = reads, looks
        named = (["LN2", "pre"] if reads else []) + (["q", "k", "pattern"] if looks else [])
        self.names = [f"L{layer:02d}.{name}" for name in named]
        self.gradients = [f"L{layer:02d}.{name}" for name in named if name in ("pattern", "pre")]
        self.stream = torch.zeros(size + 1, size + 1, dtype=torch.float64)
        self.slopes = torch.zeros(size, size, dtype=torch.float64)
        self.queries = torch.zeros(heads, decoder.sizes.dim, decoder.sizes.dim, dtype=torch.float64)
        self.keys = torch.zeros_like(self.queries)

    def add(self, batch: Recording) -> None:
        """Take in a batch."""
        self.count += batch.ids.numel()
        if self.reads:
            self._add_reads(batch)
        if self.looks:
            self._add_looks(batch)

    def _add_reads(self, batch: Recording) -> None:
        """Add the moments of what neurons read."""
        at, weight = f"L{self.layer:02d}", self.model.layer(self.layer).read
        whole = _with_one(batch.values[f"{at}.LN2"].flatten(0, 1))
        self.stream += (whole.T @ whole).double().cpu()
        for draw in batch.gradients:
            slope = draw[f"{at}.pre"].flatten(0, 1) @ weight.T
            self.slopes += (slope.T @ slope).double().cpu() / len(batch.gradients)

    def _add_looks(self, batch: Recording) -> None:
        """Add the moments of what heads compare."""
        at = f"L{self.layer:02d}"
        query, key, pattern = (batch.values[f"{at}.{name}"] for name in ("q", "k", "pattern"))
        for draw in batch.gradients:
            counts = score_slopes(pattern, draw[f"{at}.pattern"]).square() / len(batch.gradients)
            self._add_pairs(query, key, pattern, counts)

    def _add_pairs(
        self,
        query: Float[Tensor, "batch pos head dim"],
        key: Float[Tensor, "batch pos head dim"],
        pattern: Float[Tensor, "batch head query key"],
        weight: Float[Tensor, "batch head query key"],
    ) -> None:
        """Add the moments of queries and keys, a pair counting `weight`; keys less what the query sees on average."""
        asked, offered = query.transpose(1, 2), key.transpose(1, 2)
        offered = offered - offered.mean(2, keepdim=True)  # what all keys have in common says nothing, but costs digits
        by_query, by_key = weight.sum(3), weight.sum(2)  # [batch head pos]
        self.queries += _weighted(asked, by_query).double().cpu()
        seen, told = pattern @ offered, weight @ offered
        cross = torch.einsum("bhqd,bhqe->hde", told, seen)
        own, around = _weighted(offered, by_key), _weighted(seen, by_query)
        self.keys += (own - cross - cross.transpose(1, 2) + around).double().cpu()

    def channels(self, rank: int | None = None) -> Channels:
        """The channels of the layer: as many as all its neurons may share, or `rank` of them."""
        model, own = self.model, self.model.layer(self.layer)
        decoder = model.decoder
        assert own.read_bias is not None
        weight, bias = own.read.double().cpu(), own.read_bias.double().cpu()
        moment = self.stream / self.count
        mean = moment[:-1, -1]
        root, whiten = roots(moment[:-1, :-1] - mean[:, None] * mean)
        most = most_rank(decoder, "IN", decoder.sizes.neuron) if rank is None else rank
        best = torch.linalg.eigh(root @ (self.slopes / self.count) @ root).eigenvectors.flip(1)[:, :most]
        return Channels(
            mean.float(), (whiten @ best).float(), (best.T @ root @ weight).float(), (bias + mean @ weight).float()
        )

    def comparisons(self, rank: int | None = None) -> Comparisons:
        """The directions of all heads of the layer, of the highest rank that a head may have, or of `rank`."""
        model, decoder = self.model, self.model.decoder
        most = most_rank(decoder, "QK") if rank is None else rank
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for head in range(decoder.sizes.head):
            asked, offered = bilinear(model, self.layer, head)
            left, unleft = roots(self.queries[head] / self.count, _FLAT_HEAD)
            right, unright = roots(self.keys[head] / self.count, _FLAT_HEAD)
            u, s, v = torch.linalg.svd(left @ right)
            query = asked @ (unleft @ u[:, :most]) * s[:most].sqrt()
            key = offered @ (unright @ v[:most].T) * s[:most].sqrt()
            found.append((query[:-1].float(), key.float(), query[-1].float()))
        queries, keys, biases = (torch.stack(part) for part in zip(*found, strict=True))
        return Comparisons(queries, keys, biases)


def bilinear(
    model: Model, layer: int, head: int
) -> tuple[Float64[Tensor, "model_and_one dim"], Float64[Tensor, "model dim"]]:
    """A and B of a head: its scores before scaling are (x_q, 1)ᵀ A Bᵀ x_k, up to what is the same for all keys."""
    own = head_weights(model.weights, model.decoder, layer, head)
    query, bias, key = (part.double().cpu() for part in (own.query, own.query_bias, own.key))
    return torch.cat([query, bias[None]]), key


def score_slopes(
    pattern: Float[Tensor, "batch head query key"], slope: Float[Tensor, "batch head query key"]
) -> Float[Tensor, "batch head query key"]:
    """The gradient at the scores, from that at the pattern."""
    own = pattern * slope
    return own - pattern * own.sum(-1, keepdim=True)


def _weighted(
    x: Float[Tensor, "batch head pos dim"], weight: Float[Tensor, "batch head pos"]
) -> Float[Tensor, "head dim dim"]:
    """Σ weight · x xᵀ over positions."""
    return torch.einsum("bhpd,bhpe->hde", x * weight[..., None], x)


def _with_one(x: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch model_and_one"]:
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], -1)


def roots(
    moment: Float64[Tensor, "*batch dim dim"],
    least: float = _FLAT,
) -> tuple[Float64[Tensor, "*batch dim dim"], Float64[Tensor, "*batch dim dim"]]:
    """The symmetric square root of a moment, and that of its inverse where it is not flat (below `least`, a share)."""
    values, axes = torch.linalg.eigh(moment)
    flat = values <= least * values.amax(-1, keepdim=True)
    lengths = values.clamp(min=0).sqrt().masked_fill(flat, 0.0)
    inverse = torch.where(flat, 0.0, 1 / lengths.masked_fill(flat, 1.0))
    root, whiten = ((axes * scale[..., None, :]) @ axes.transpose(-1, -2) for scale in (lengths, inverse))
    return root, whiten

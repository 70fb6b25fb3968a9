"""The closed set of operations that a graph is made of: pure functions on tensors.

Their order of arithmetic is that of Hugging Face's eager models, so that float32 logits on the CPU are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.exact.cache import ModelCache
from pellucid.family.activations import activation
from pellucid.family.rotary import Rotary

Resid = Float[Tensor, "batch pos model"]
PerHead = Float[Tensor, "batch pos head dim"]
QueryKeys = Float[Tensor, "batch head query key"]


def embed(ids: Int[Tensor, "batch pos"], table: Float[Tensor, "vocab model"], *, scale: float | None = None) -> Resid:
    """The row of `table` for each id (or each position), times `scale`, rounded as the table is."""
    rows = F.embedding(ids, table)
    return rows if scale is None else rows * torch.tensor(scale).to(rows)


def same(x: Tensor) -> Tensor:
    """Another name for the same tensor."""
    return x


def add(x: Resid, y: Float[Tensor, "#batch #pos model"]) -> Resid:
    """The sum; `y` may be one row, or one position, for all."""
    return x + y


def layer_norm(
    x: Float[Tensor, "*batch model"], gain: Float[Tensor, " model"], bias: Float[Tensor, " model"], *, epsilon: float
) -> Float[Tensor, "*batch model"]:
    """Layer normalization (Ba et al., 2016)."""
    return F.layer_norm(x, gain.shape, gain, bias, epsilon)


def rms_norm(
    x: Float[Tensor, "*batch width"], gain: Float[Tensor, " width"], *, epsilon: float, plus_one: bool = False
) -> Float[Tensor, "*batch width"]:
    """Root mean square normalization (arXiv 1910.07467) in float32; with `plus_one` the gain is 1 + `gain`."""
    wide = x.float()
    normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return (normed * (1.0 + gain.float())).to(x) if plus_one else gain * normed.to(x)


def linear(
    x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "in out"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "batch pos out"]:
    """x · weight + bias."""
    if bias is None:
        return x @ weight
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], weight.shape[-1])


def linear_transposed(
    x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "batch pos out"]:
    """x · weightᵀ + bias."""
    return F.linear(x, weight, bias)


def heads_of(
    joint: Float[Tensor, "batch pos joint"], *, lengths: Sequence[int], part: tuple[int, int] | None = None
) -> PerHead:
    """A projection with its last axis in axes of `lengths`; of a joint one, what lies at `part` (axis, index)."""
    found = joint.view(*joint.shape[:-1], *lengths)
    return found if part is None else found.select(2 + part[0], part[1])


def turns(positions: Int[Tensor, "batch pos"], *, rotary: Rotary) -> Float[Tensor, "two batch pos turned"]:
    """Cosines and sines of the angles by which pairs of coordinates turn at each position."""
    angles = positions[..., None].float() * _rates(rotary, positions.device)
    angles = torch.cat((angles, angles), dim=-1)
    return torch.stack((angles.cos() * rotary.amplitude, angles.sin() * rotary.amplitude))


@lru_cache(maxsize=16)
def _rates(rotary: Rotary, device: torch.device) -> Float[Tensor, " pair"]:
    with torch.inference_mode(False):
        return rotary.rates().to(device)


def rotate(x: PerHead, turns: Float[Tensor, "two _batch pos turned"]) -> PerHead:
    """`x` with its first coordinates turned by angles that grow with the position (arXiv 2104.09864)."""
    cosines, sines = turns.to(x.dtype)[:, :, :, None]
    width = turns.shape[-1]
    turned, kept = x[..., :width], x[..., width:]
    across = torch.cat((-turned[..., width // 2 :], turned[..., : width // 2]), dim=-1)
    found = turned * cosines + across * sines
    return torch.cat((found, kept), dim=-1) if kept.shape[-1] else found


def remember(
    new: Float[Tensor, "batch pos group dim"], cache: ModelCache | None, *, slot: str, repeat: int = 1
) -> Float[Tensor, "batch head key dim"]:
    """`new` behind what `cache` holds under `slot`, if anything; contiguous per head, each `repeat` times.

    The layout is that of Hugging Face's default call, which fills a cache: it decides in which order a matrix product
    sums, and so the last bits (those of a call with `use_cache=False` can differ).
    """
    per_head = new.transpose(1, 2)
    held = per_head.contiguous() if cache is None else cache.append(slot, per_head)
    if repeat == 1:
        return held
    return held[:, :, None].expand(-1, -1, repeat, -1, -1).reshape(len(held), -1, *held.shape[2:])


def scores(
    queries: PerHead,
    keys: Float[Tensor, "batch head key dim"],
    *,
    scale: float,
    cap: float | None = None,
    window: int | None = None,
) -> QueryKeys:
    """Where each head wants to look, before the causal mask; −inf at keys that the `window` of no query reaches."""
    far = beyond(queries.shape[1], keys.shape[2], window)
    found = capped(torch.matmul(queries.transpose(1, 2), keys[:, :, far:].transpose(-1, -2)) * scale, cap)
    return F.pad(found, (far, 0), value=-torch.inf) if far else found


def capped(x: Float[Tensor, ...], cap: float | None) -> Float[Tensor, ...]:
    """`x` softly held between −`cap` and `cap`."""
    return x if cap is None else torch.tanh(x / cap) * cap


def beyond(query: int, key: int, window: int | None) -> int:
    """How many of the first of `key` keys none of the last `query` positions sees, each with `window` before it.

    Those are left out of sums: a cache of that window does not hold them.
    """
    return 0 if window is None else max(0, key - query - window + 1)


@lru_cache(maxsize=8)
def outside(query: int, key: int, window: int, device: torch.device) -> Bool[Tensor, "query key"]:
    """Where a key is too far before a query for it to be among its last `window`."""
    with torch.inference_mode(False):
        return torch.ones(query, key, dtype=torch.bool, device=device).tril(key - query - window)


def pattern(
    scores: QueryKeys, mask: Float[Tensor, "*_ query key"], *, window: int | None = None, upcast: bool = False
) -> QueryKeys:
    """The share of each key in what a query takes: softmax over the keys where `mask` is not below 0.

    No score, however large, lets a query look at a key that the mask leaves out; a query that may look at none (scores
    of −inf at all others, or nothing but padding) takes nothing: its shares are all 0. With a `window` only the last
    keys are seen; with `upcast` the sum is float32.
    """
    query, key = scores.shape[-2:]
    hidden = mask < 0 if window is None else (mask < 0) | outside(query, key, window, mask.device)
    far = beyond(query, key, window)
    seen = scores.masked_fill(hidden, -torch.inf)[..., far:]
    shares = _shares(seen, torch.float32 if upcast else scores.dtype).to(scores.dtype)
    return F.pad(shares, (far, 0)) if far else shares


def _shares(seen: QueryKeys, dtype: torch.dtype) -> QueryKeys:
    shares = F.softmax(seen, dim=-1, dtype=dtype)
    if not bool(shares[..., 0].isnan().any()):  # a query without keys has no finite share
        return shares
    blind = (seen == -torch.inf).all(-1, keepdim=True)
    return F.softmax(seen.masked_fill(blind, 0.0), dim=-1, dtype=dtype).masked_fill(blind, 0.0)


def mix(pattern: QueryKeys, values: Float[Tensor, "batch head key dim"], *, window: int | None = None) -> PerHead:
    """The values, averaged by `pattern`."""
    far = beyond(pattern.shape[2], values.shape[2], window)
    if far:
        pattern, values = pattern[..., far:].contiguous(), values[:, :, far:]
    return torch.matmul(pattern, values).transpose(1, 2)


def write_heads(
    z: PerHead,
    weight: Float[Tensor, "rows columns"],
    bias: Float[Tensor, " model"] | None = None,
    *,
    transposed: bool = False,
) -> Resid:
    """What all heads of a layer write together; the weight is stored [in model], or [model in] if `transposed`."""
    return (linear_transposed if transposed else linear)(z.flatten(2), weight, bias)


def both(mlp: Resid, attention: Resid, x: Resid) -> Resid:
    """The stream with what MLP and attention wrote side by side."""
    return mlp + attention + x


def unembed(
    x: Resid, table: Float[Tensor, "vocab model"], *, cap: float | None = None
) -> Float[Tensor, "batch pos vocab"]:
    """Logits, softly held between −`cap` and `cap`."""
    return capped(F.linear(x, table), cap)


def activate(x: Float[Tensor, "batch pos neuron"], *, function: str) -> Float[Tensor, "batch pos neuron"]:
    """The MLP's activation function, by its name in the config."""
    return activation(function).torch(x)


def gated(
    x: Float[Tensor, "batch pos neuron"], up: Float[Tensor, "batch pos neuron"], *, function: str
) -> Float[Tensor, "batch pos neuron"]:
    """The activation function of the gate, times what the neuron reads (arXiv 2002.05202)."""
    return activation(function).torch(x) * up


def leaf(value: Tensor) -> Tensor:
    """`value` as something that gradients can be taken at: itself where it already is, else apart from what made it."""
    return value if value.requires_grad else value.detach().requires_grad_()

"""The closed set of operations that a graph is made of: pure functions on tensors.

Their order of arithmetic is that of Hugging Face's eager GPT-2, so that float32 logits on the CPU are the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.cache import Cache

Resid = Float[Tensor, "batch pos model"]
PerHead = Float[Tensor, "batch pos head dim"]
Pairs = Float[Tensor, "batch head query key"]


def embed(ids: Int[Tensor, "batch pos"], table: Float[Tensor, "vocab model"]) -> Resid:
    """The row of `table` for each id (or each position)."""
    return F.embedding(ids, table)


def same(x: Tensor) -> Tensor:
    """Another name for the same tensor."""
    return x


def add(x: Resid, y: Float[Tensor, "#batch #pos model"]) -> Resid:
    """The sum; `y` may be one row, or one position, for all."""
    return x + y


def layer_norm(x: Resid, gain: Float[Tensor, " model"], bias: Float[Tensor, " model"], *, epsilon: float) -> Resid:
    """Layer normalization (Ba et al., 2016)."""
    return F.layer_norm(x, gain.shape, gain, bias, epsilon)


def linear(
    x: Float[Tensor, "batch pos in"], weight: Float[Tensor, "in out"], bias: Float[Tensor, " out"]
) -> Float[Tensor, "batch pos out"]:
    """x · weight + bias."""
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], weight.shape[-1])


def part_of_heads(qkv: Float[Tensor, "batch pos three_model"], *, part: int, heads: int) -> PerHead:
    """Queries (part 0), keys (1) or values (2) out of their joint projection."""
    width = qkv.shape[-1] // 3
    return qkv[..., part * width : (part + 1) * width].view(*qkv.shape[:-1], heads, width // heads)


def remember(new: PerHead, cache: Cache | None, *, slot: str) -> Float[Tensor, "batch head key dim"]:
    """`new` behind what `cache` holds under `slot`, if anything; contiguous per head.

    The layout is that of Hugging Face's default call, which fills a cache: it decides in which order a matrix product
    sums, and so the last bits (those of a call with `use_cache=False` can differ).
    """
    per_head = new.transpose(1, 2)
    return per_head.contiguous() if cache is None else cache.append(slot, per_head)


def scores(queries: PerHead, keys: Float[Tensor, "batch head key dim"], *, scale: float) -> Pairs:
    """Where each head wants to look, before the causal mask."""
    return torch.matmul(queries.transpose(1, 2), keys.transpose(-1, -2)) * scale


def pattern(scores: Pairs, mask: Float[Tensor, "*_ query key"]) -> Pairs:
    """The share of each key in what a query takes: softmax over the keys where `mask` is not below 0.

    No score, however large, lets a query look at a key that the mask leaves out; a query that may look at none (scores
    of −inf at all others, or nothing but padding) takes nothing: its shares are all 0.
    """
    seen = scores.masked_fill(mask < 0, -torch.inf)
    shares = F.softmax(seen, dim=-1)
    if not bool(shares[..., 0].isnan().any()):  # a query without keys has no finite share
        return shares
    blind = (seen == -torch.inf).all(-1, keepdim=True)
    return F.softmax(seen.masked_fill(blind, 0.0), dim=-1).masked_fill(blind, 0.0)


def mix(pattern: Pairs, values: Float[Tensor, "batch head key dim"]) -> PerHead:
    """The values, averaged by `pattern`."""
    return torch.matmul(pattern, values).transpose(1, 2)


def write_heads(z: PerHead, weight: Float[Tensor, "in model"], bias: Float[Tensor, " model"]) -> Resid:
    """What all heads of a layer write together."""
    return linear(z.flatten(2), weight, bias)


def unembed(x: Resid, table: Float[Tensor, "vocab model"]) -> Float[Tensor, "batch pos vocab"]:
    """Logits."""
    return F.linear(x, table)


def activate(x: Float[Tensor, "batch pos neuron"], *, function: str) -> Float[Tensor, "batch pos neuron"]:
    """The MLP's activation function, by its name in the config."""
    return ACTIVATION[function](x)


def _gelu_new(x: Tensor) -> Tensor:
    """Gaussian error linear units, tanh form (Hendrycks & Gimpel, 2016, section 2)."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def _gelu_python_tanh(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def _gelu_fast(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def _gelu_accurate(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


ACTIVATION: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "gelu_new": _gelu_new,
    "gelu": F.gelu,
    "gelu_python": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "gelu_fast": _gelu_fast,
    "gelu_accurate": _gelu_accurate,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_python_tanh": _gelu_python_tanh,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "relu2": lambda x: torch.square(F.relu(x)),
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": same,
}


def leaf(value: Tensor) -> Tensor:
    """`value` as something that gradients can be taken at: itself where it already is, else apart from what made it."""
    return value if value.requires_grad else value.detach().requires_grad_()

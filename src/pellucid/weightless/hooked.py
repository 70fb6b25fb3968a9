"""One-layer transformers in the layout of TransformerLens: no norm, ReLU; small enough to run on all inputs at once.

The layout is that of Neel Nanda's modular-addition models (Nanda et al., 2023): tensors `embed.W_E`, `pos_embed.W_pos`,
`blocks.0.attn.W_Q` [head model dim], …, `blocks.0.mlp.W_in`, `unembed.W_U`; no attention biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pellucid.base.errors import SubjectError
from pellucid.subject.checkpoint import WEIGHTS, read_json

KIND = "hooked_transformer"
Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Hooked:
    """A one-layer model of this layout."""

    weights: dict[str, Tensor] = field(repr=False)

    @property
    def parameters(self) -> int:
        """How many numbers the checkpoint holds."""
        return sum(tensor.numel() for tensor in self.weights.values())

    @property
    def heads(self) -> int:
        """How many heads the layer has."""
        return int(self.weights["blocks.0.attn.W_Q"].shape[0])

    @property
    def neurons(self) -> int:
        """How many neurons the layer has."""
        return int(self.weights["blocks.0.mlp.W_in"].shape[1])

    def run(
        self, ids: Int[Tensor, "batch pos"], edits: Mapping[str, Edit] | None = None
    ) -> dict[str, Float[Tensor, "batch ..."]]:
        """`z` [batch pos head dim], `post` [batch pos neuron] and `logits` [batch pos vocab], with edits applied.

        `resid` [batch pos model], what token and position write, can be edited as well.
        """
        w, edits = self.weights, edits or {}
        resid = _edited("resid", w["embed.W_E"][ids] + w["pos_embed.W_pos"][: ids.shape[1]], edits)
        q, k, v = (torch.einsum("bpm,hmd->bphd", resid, w[f"blocks.0.attn.W_{part}"]) for part in "QKV")
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        late = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        pattern = scores.masked_fill(late, float("-inf")).softmax(-1)
        z = _edited("z", torch.einsum("bhqk,bkhd->bqhd", pattern, v), edits)
        middle = resid + torch.einsum("bqhd,hdm->bqm", z, w["blocks.0.attn.W_O"])
        post = _edited("post", torch.relu(middle @ w["blocks.0.mlp.W_in"] + w["blocks.0.mlp.b_in"]), edits)
        final = middle + post @ w["blocks.0.mlp.W_out"] + w["blocks.0.mlp.b_out"]
        return {"z": z, "post": post, "logits": final @ w["unembed.W_U"]}


def _edited(name: str, value: Tensor, edits: Mapping[str, Edit]) -> Tensor:
    return edits[name](value) if name in edits else value


def is_hooked(directory: Path) -> bool:
    """Whether the checkpoint in `directory` has this layout."""
    path = directory / "config.json"
    return path.is_file() and read_json(path).get("model_type") == KIND


def load_hooked(directory: Path) -> Hooked:
    """The model in `directory`. Raises `SubjectError` where it is something else than one layer of this layout."""
    config = read_json(directory / "config.json")
    wanted = {"n_layers": 1, "act_fn": "relu", "normalization_type": None}
    if wrong := [f"{key} = {config.get(key)!r}" for key, value in wanted.items() if config.get(key) != value]:
        raise SubjectError(
            f"{directory}: only one layer with ReLU and without norms is supported, not {', '.join(wrong)}"
        )
    try:
        weights = load_file(directory / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise SubjectError(f"{directory / WEIGHTS} cannot be read as safetensors: {error}") from error
    names = ["embed.W_E", "pos_embed.W_pos", "unembed.W_U", *(f"blocks.0.attn.W_{part}" for part in "QKVO")]
    names += [f"blocks.0.mlp.{part}" for part in ("W_in", "b_in", "W_out", "b_out")]
    if missing := [name for name in names if name not in weights]:
        raise SubjectError(f"{directory / WEIGHTS} lacks {', '.join(missing)}")
    return Hooked({name: weights[name].float() for name in names})

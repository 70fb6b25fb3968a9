"""Small transformers in the layout of TransformerLens, of any number of layers, causal or seeing whole rows.

Tensors are called `embed.W_E`, `pos_embed.W_pos`, `blocks.0.attn.W_Q` [head model dim], `blocks.0.mlp.W_in`,
`unembed.W_U`; biases, MLPs and norms (`blocks.0.ln1.w`) are there or not. `config.json` says what the tensors do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from pellucid.base.errors import SubjectError
from pellucid.exact.graph import Edit
from pellucid.subject.checkpoint import WEIGHTS, read_json
from pellucid.weightless.task import Task

ABSENT = -1e4
"""The logit of a token that the model cannot say."""
BENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
}
DIRECTIONS = ("causal", "bidirectional")


@dataclass(frozen=True, eq=False)
class Layered:
    """A model of this layout. `shortformer` says that positions are added to queries and keys only."""

    weights: dict[str, Tensor] = field(repr=False)
    causal: bool
    bend: str
    eps: float
    shortformer: bool
    parameters: int

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return sum(name.endswith("attn.W_Q") for name in self.weights)

    @property
    def heads(self) -> int:
        """How many heads a layer has."""
        return int(self.weights["blocks.0.attn.W_Q"].shape[0])

    @property
    def n_ctx(self) -> int:
        """How long a row may be."""
        return len(self.weights["pos_embed.W_pos"])

    @property
    def embedding(self) -> Tensor:
        """What a token writes [vocab model]."""
        return self.weights["embed.W_E"]

    @property
    def position_table(self) -> Tensor:
        """What a position writes into the residual stream [pos model]: nothing in a shortformer."""
        table = self.weights["pos_embed.W_pos"]
        return torch.zeros_like(table) if self.shortformer else table

    def run(
        self,
        ids: Tensor,
        names: Sequence[str],
        *,
        edits: Mapping[str, Edit] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Activations by name: `L00.resid_pre` [batch pos model], `L00.pattern` [batch head query key],
        `L00.z` [batch pos head dim] and `logits` [batch pos vocab]."""
        edits, given, found = edits or {}, given or {}, dict[str, Tensor]()

        def known(name: str, make: Any) -> Tensor:
            value: Tensor = given[name] if name in given else make()
            value = edits[name](value) if name in edits else value
            if name in names:
                found[name] = value
            return value

        w, length = self.weights, ids.shape[1]
        place = known("EMB.POS", lambda: w["pos_embed.W_pos"][:length])
        written = 0.0 if self.shortformer else place
        first = max((layer for layer in range(self.layers) if f"L{layer:02d}.z" in given), default=0)
        resid: Tensor = torch.zeros(())
        for layer in range(first, self.layers):
            before = resid
            resid = known(
                f"L{layer:02d}.resid_pre",
                lambda layer=layer, before=before: w["embed.W_E"][ids.clamp(min=0)] + written if layer == 0 else before,
            )
            z = known(f"L{layer:02d}.z", lambda at=layer, x=resid: self._seen(at, x, place, ids, known))
            resid = resid + torch.einsum("bqhd,hdm->bqm", z, w[f"blocks.{layer}.attn.W_O"]) + self._bias(layer, "O")
            resid = resid + self._neurons(layer, resid)
        known("logits", lambda: self._normed("ln_final", resid) @ w["unembed.W_U"] + w["unembed.b_U"])
        return found

    def _seen(self, layer: int, resid: Tensor, place: Tensor, ids: Tensor, known: Any) -> Tensor:
        """What the heads of `layer` give at every place, before their outputs are mixed."""
        x = self._normed(f"blocks.{layer}.ln1", resid)
        asking = x + place if self.shortformer else x
        q, k, v = (
            torch.einsum("bpm,hmd->bphd", source, self.weights[f"blocks.{layer}.attn.W_{part}"])
            + self._bias(layer, part)
            for part, source in (("Q", asking), ("K", asking), ("V", x))
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        unseen = (ids < 0)[:, None, None, :]
        if self.causal:
            unseen = unseen | torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        pattern = known(f"L{layer:02d}.pattern", lambda: scores.masked_fill(unseen, -1e9).softmax(-1))
        return torch.einsum("bhqk,bkhd->bqhd", pattern, v)

    def _bias(self, layer: int, part: str) -> Tensor | float:
        return self.weights.get(f"blocks.{layer}.attn.b_{part}", 0.0)

    def _neurons(self, layer: int, resid: Tensor) -> Tensor | float:
        at = f"blocks.{layer}.mlp."
        if f"{at}W_in" not in self.weights:
            return 0.0
        w = self.weights
        inside = self._normed(f"blocks.{layer}.ln2", resid) @ w[f"{at}W_in"] + w.get(f"{at}b_in", 0.0)
        return BENDS[self.bend](inside) @ w[f"{at}W_out"] + w.get(f"{at}b_out", 0.0)

    def _normed(self, name: str, x: Tensor) -> Tensor:
        """`x` behind the norm `name`, as it is where there is none."""
        if f"{name}.w" not in self.weights:
            return x
        return functional.layer_norm(x, x.shape[-1:], self.weights[f"{name}.w"], self.weights[f"{name}.b"], self.eps)


def load_layered(directory: Path, task: Task) -> Layered:
    """The model in `directory`, its tokens numbered as `task` does.

    Raises `SubjectError` where the checkpoint is not of this layout or does not fit the task.
    """
    config = read_json(directory / "config.json")
    bend, direction = str(config.get("act_fn") or "relu"), config.get("attention_dir", "causal")
    if bend not in BENDS or direction not in DIRECTIONS:
        raise SubjectError(
            f"{directory / 'config.json'} says act_fn {bend!r} and attention_dir {direction!r}; known are "
            f"{', '.join(BENDS)} and {', '.join(DIRECTIONS)}"
        )
    try:
        weights = {name: value.float() for name, value in load_file(directory / WEIGHTS).items()}
    except (SafetensorError, OSError) as error:
        raise SubjectError(f"{directory / WEIGHTS} cannot be read as safetensors: {error}") from error
    wanted = ["embed.W_E", "unembed.W_U", *(f"blocks.0.attn.W_{part}" for part in "QKVO")]
    if missing := [name for name in wanted if name not in weights]:
        raise SubjectError(f"{directory / WEIGHTS} lacks {', '.join(missing)}")
    parameters = sum(value.numel() for value in weights.values())
    width = weights["embed.W_E"].shape[1]
    longest = max((len(row.ids) for row in task.rows), default=int(config.get("n_ctx", 0)))
    weights.setdefault("pos_embed.W_pos", torch.zeros(longest, width))
    weights.setdefault("unembed.b_U", torch.zeros(weights["unembed.W_U"].shape[1]))
    shortformer = config.get("positional_embedding_type") == "shortformer"
    known = _numbered(weights, task, str(directory))
    return Layered(known, direction == "causal", bend, float(config.get("eps", 1e-5)), shortformer, parameters)


def _numbered(weights: dict[str, Tensor], task: Task, where: str) -> dict[str, Tensor]:
    """`weights` with a row of the embedding, and a column of the unembedding, for every token of `task`."""
    size = len(task.vocabulary)
    read, said = (list(ids) or list(range(size)) for ids in (task.read, task.said))
    rows, columns = len(weights["embed.W_E"]), weights["unembed.W_U"].shape[1]
    if len(read) < rows or len(said) < columns:
        raise SubjectError(
            f"{where} reads {rows} tokens and says {columns}; its task.json names {len(read)} and {len(said)}"
        )
    table = torch.zeros(size, weights["embed.W_E"].shape[1])
    table[read[:rows]] = weights["embed.W_E"]
    matrix = torch.zeros(len(weights["unembed.W_U"]), size)
    matrix[:, said[:columns]] = weights["unembed.W_U"]
    bias = torch.full((size,), ABSENT)
    bias[said[:columns]] = weights["unembed.b_U"]
    return weights | {"embed.W_E": table, "unembed.W_U": matrix, "unembed.b_U": bias}

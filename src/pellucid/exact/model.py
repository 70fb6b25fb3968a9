"""The exact model: a subject that runs, and whose every activation can be read and replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Integer
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.exact.cache import Cache
from pellucid.exact.graph import Edit, Graph
from pellucid.exact.lift import lift
from pellucid.subject.gpt2 import GPT2Config
from pellucid.subject.load import Subject
from pellucid.subject.tokenizer import Tokenizer


@dataclass(frozen=True)
class Taps:
    """What to record and what to replace in a forward pass.

    `record` names activations or patterns of them (`L00.pattern`, `L*.resid_pre`; the table is in `exact/lift.py`);
    `replace` maps a name to a function from the activation to what takes its place. A single head or neuron is a slice:
    `{"L02.z": lambda z: z.index_fill(2, torch.tensor([1]), 0.0)}` silences head 1.
    """

    record: Sequence[str] = ()
    replace: Mapping[str, Edit] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What a forward pass gives: logits, the recorded activations by name, and the cache if one was passed."""

    logits: Float[Tensor, "batch pos vocab"]
    activations: dict[str, Tensor]
    cache: Cache | None


class Model:
    """A subject in memory, to run on `device` in `dtype`; float32 on the CPU gives Hugging Face's exact logits."""

    def __init__(
        self, subject: Subject, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        self.subject = subject
        self.dtype, self.device = dtype, torch.device(device)
        self.weights = {name: tensor.to(self.device, dtype) for name, tensor in subject.weights.items()}
        self.graph: Graph = lift(subject.config)

    def __repr__(self) -> str:
        c = self.config
        size = f"{c.n_layer} layers, {c.n_head} heads, {c.n_inner} neurons, d {c.n_embd}, vocabulary {c.vocab_size}"
        said = f"{self.subject.parameters:,} parameters, {str(self.dtype).removeprefix('torch.')} on {self.device}"
        return f"<Model {self.subject.name}: {size}, context {c.n_positions}; {said}>"

    @property
    def config(self) -> GPT2Config:
        return self.subject.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self.subject.tokenizer

    @property
    def n_ctx(self) -> int:
        """The most positions that the model can read."""
        return self.config.n_positions

    @property
    def n_vocab(self) -> int:
        """How many logits a position has."""
        return self.config.vocab_size

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token; gradients flow to whatever requires them."""
        return self.run(ids, ("logits",))["logits"]

    def forward(self, ids: Int[Tensor, "batch pos"], taps: Taps | None = None, cache: Cache | None = None) -> Run:
        """Run `ids` (behind what `cache` holds), recording and replacing what `taps` says.

        Raises `PellucidError` for ids or lengths that the model cannot read, and for taps that do not exist.
        """
        taps = taps or Taps()
        record = [name for pattern in taps.record for name in self.graph.names(pattern)]
        grown = None if cache is None else cache.grown(ids.shape[1])
        values = self.run(ids, ("logits", *record), edits=taps.replace, cache=grown)
        return Run(values["logits"], {name: values[name] for name in record}, grown)

    def run(
        self,
        ids: Int[Tensor, "batch pos"],
        want: Sequence[str],
        given: Mapping[str, Tensor] | None = None,
        edits: Mapping[str, Edit] | None = None,
        cache: Cache | None = None,
    ) -> dict[str, Tensor]:
        """Only the activations `want`, restarting from the activations `given` where that saves work.

        `cache` is one already `grown` by the length of `ids`, which this fills.
        """
        start = 0 if cache is None else cache.length - ids.shape[1]
        end = start + ids.shape[1]
        self._check(ids, end)
        inputs: dict[str, Any] = {
            "ids": ids.to(self.device),
            "positions": torch.arange(start, end, device=self.device).unsqueeze(0),
            "mask": causal_mask(end - start, end, self.dtype, self.device),
            "cache": cache,
        }
        return self.graph.run(self.weights, inputs | dict(given or {}), want, edits)

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: Cache | None = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], Cache]:
        """The logits after each of `ids` (or after the last only), which follow what `cache` holds; and the new cache.

        The old cache stays valid. Raises `PellucidError` beyond `n_ctx` positions.
        """
        grown = (cache or Cache()).grown(ids.shape[1])
        with torch.inference_mode():
            rows = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64))
            final = self.run(rows, ("final",), cache=grown)["final"]
            final = final[:, -1:] if last_only else final
            logits = self.graph.run(self.weights, {"final": final}, ("logits",))["logits"]
            return logits.float().cpu().numpy(), grown

    def generate(self, prompt: str, tokens: int = 20) -> str:
        """What the model says after `prompt` at temperature 0: at most `tokens` tokens, up to the end of the text."""
        from pellucid.exact.decode import greedy

        start = self.tokenizer.encode(prompt) or [self.tokenizer.eos_id or 0]
        produced = greedy(self, torch.tensor([start]), tokens)[0].tolist()
        end = self.tokenizer.eos_id
        return self.tokenizer.decode(produced[: produced.index(end)] if end in produced else produced)

    def _check(self, ids: Tensor, end: int) -> None:
        if end > self.n_ctx:
            raise PellucidError(f"{end} tokens are more than the {self.n_ctx} positions of {self.subject.name}")
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.n_vocab:
            wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
            raise PellucidError(f"token id {wrong} is not in 0 … {self.n_vocab - 1}, the ids of {self.subject.name}")


@lru_cache(maxsize=4)
def causal_mask(query: int, key: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "query key"]:
    """What is added to scores: 0 where the key is no later than the query (the last queries of `key`), else −max."""
    with torch.inference_mode(False):
        late = torch.full((query, key), torch.finfo(dtype).min, dtype=dtype, device=device)
        return torch.triu(late, diagonal=1 + key - query)

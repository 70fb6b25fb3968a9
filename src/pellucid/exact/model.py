"""The exact model: a subject that runs, and whose every activation can be read and replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Integer
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.exact.cache import ModelCache
from pellucid.exact.changed import Changed, Changes
from pellucid.exact.graph import Edit, Graph
from pellucid.exact.lift import last_resid, lift
from pellucid.exact.norms import NormView
from pellucid.exact.rows import Rows
from pellucid.exact.rules import refine, refined_names
from pellucid.exact.views import LayerView
from pellucid.exact.writing import Sampling, Until, write
from pellucid.family.blocks import Decoder
from pellucid.subject.load import Subject
from pellucid.subject.tokenizer import Tokenizer

Text = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | Int[Tensor, "_ _"] | Rows
"""A text, several (of any lengths), or token ids."""


@dataclass(frozen=True)
class Taps:
    """What to record and what to replace in a forward pass.

    `record` names activations or patterns of them (`L00.pattern`, `L*.resid_pre`; the tables are in `exact/lift.py`
    and, for what is inside norms and heads' writes, `L00.LN1.scale`, `L00.head_writes`, in `exact/rules.py`);
    `replace` maps a name to a function from the activation to what takes its place. A single head or neuron is a slice:
    `{"L02.z": lambda z: z.index_fill(2, torch.tensor([1]), 0.0)}` silences head 1.
    """

    record: Sequence[str] = ()
    replace: Mapping[str, Edit] = field(default_factory=dict)


@dataclass(frozen=True)
class ForwardRun:
    """What a forward pass gives: logits, the recorded activations by name, and the cache if one was passed."""

    logits: Float[Tensor, "batch pos vocab"]
    """The logits after each token."""
    activations: dict[str, Tensor]
    """What was recorded, by name."""
    cache: ModelCache | None
    """What was run so far, if a cache was given."""


class Model:
    """A subject in memory, to run on `device` in `dtype`; float32 on the CPU gives Hugging Face's exact logits."""

    def __init__(
        self, subject: Subject, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        self.subject = subject
        self.dtype, self.device = dtype, torch.device(device)
        self.weights = {name: tensor.to(self.device, dtype) for name, tensor in subject.weights.items()}
        self.graph = lift(subject.decoder)
        self._inner = refined_names(self.graph)
        self._refined: dict[frozenset[str], Graph] = {}

    def __repr__(self) -> str:
        s, layers = self.decoder.sizes, self.decoder.layers
        size = f"{layers} layers, {s.head} heads, {s.neuron} neurons, d {s.model}, vocabulary {s.vocab}"
        said = f"{self.subject.parameters:,} parameters, {self.precision} on {self.device}"
        return f"<Model {self.subject.name}: {size}, context {s.pos}; {said}>"

    @property
    def decoder(self) -> Decoder:
        """What it is made of."""
        return self.subject.decoder

    @property
    def tokenizer(self) -> Tokenizer:
        return self.subject.tokenizer

    @property
    def n_ctx(self) -> int:
        """The most positions that the model can read."""
        return self.decoder.sizes.pos

    @property
    def n_vocab(self) -> int:
        """How many logits a position has."""
        return self.decoder.sizes.vocab

    @property
    def embedding(self) -> Float[Tensor, "vocab model"]:
        """The rows that tokens are read as, before they are scaled."""
        return self.weights[self.decoder.embed]

    @property
    def unembedding(self) -> Float[Tensor, "vocab model"]:
        """The rows that say the logits."""
        return self.weights[self.decoder.unembed or self.decoder.embed]

    @property
    def position_table(self) -> Float[Tensor, "pos model"]:
        """The rows that positions are read as. Raises `PellucidError` where positions have none."""
        if self.decoder.positions is None:
            raise PellucidError(f"{self.subject.name} has no table of positions: they turn queries and keys")
        return self.weights[self.decoder.positions]

    @property
    def final_norm(self) -> NormView:
        """What is said is read through."""
        return NormView.of(self.decoder.final, self.weights)

    def layer(self, number: int) -> LayerView:
        """The matrices of a layer in canonical axes."""
        return LayerView(self.weights, self.decoder, number)

    @property
    def precision(self) -> str:
        """The name of what it computes in: `float32`."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def last_resid(self) -> str:
        """The name of the final residual stream, the sum of all that was written."""
        return last_resid(self.decoder)

    @property
    def inner(self) -> list[str]:
        """The names of the activations inside norms, reads and writes; the table is in `exact/rules.py`."""
        return self._inner

    def but(self, weights: Mapping[str, Tensor], graph: Graph) -> Model:
        """This model with other weights and another graph, which has the activations of this one's."""
        other = copy(self)
        other.weights, other.graph = dict(weights), graph
        other._inner, other._refined = refined_names(graph), {}
        return other

    def logits(
        self, text: Text, mask: Int[Tensor, "_ _"] | Bool[Tensor, "_ _"] | None = None
    ) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token of a text, of several, or of token ids; gradients flow to what requires them.

        Texts may differ in length, and so may rows of ids whose padding `mask` is 0 at. Logits are aligned at the end
        then, so that `[:, -1]` is what follows each row, and NaN where a row has no token.

        Args:
            text: A text, several of any lengths, token ids [batch, pos], or rows.
            mask: Which of the ids are tokens (1) and which padding (0), [batch, pos].

        Returns:
            Logits after each token, [batch, pos, vocab].

        Raises:
            PellucidError: A prompt that the subject cannot read: empty, longer than its context, or a word or id that
                it does not have.
        """
        rows = self.rows(text) if mask is None else Rows.masked(self.rows(text).ids, mask.to(self.device))
        found = self.run(rows.ids, ("logits",), pads=rows.pads)["logits"]
        return found if rows.pads is None else found.masked_fill(~rows.mask[..., None], torch.nan)

    def __call__(self, text: Text) -> Float[Tensor, "batch pos vocab"]:
        """The same as `logits`."""
        return self.logits(text)

    def rows(self, text: object) -> Rows:
        """One or several texts (`Text`) in tokens, or token ids as they are: a tensor, a list, or a list of lists.

        Raises `PellucidError` for what is neither, and for an empty list.
        """
        if isinstance(text, Rows):
            return Rows(text.ids.to(self.device), None if text.pads is None else text.pads.to(self.device))
        if isinstance(text, Tensor):
            if text.ndim != 2 or not text.numel() or text.is_floating_point() or text.is_complex():
                raise PellucidError(
                    f"token ids have shape {list(text.shape)} of {str(text.dtype).removeprefix('torch.')}, expected "
                    "whole numbers [batch, pos] with some of each"
                )
            return Rows(text.to(self.device))
        prompts = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else [text]
        if lists := [prompts] if _are_ids(text) else prompts if prompts and all(map(_are_ids, prompts)) else None:
            return Rows.of([torch.tensor(ids, device=self.device) for ids in lists])
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        if not texts or len(texts) < len(prompts):
            wrong = next((f"{prompt!r} is no prompt" for prompt in prompts if not isinstance(prompt, str)), None)
            raise PellucidError(
                f"{wrong or 'there is no prompt'}; expected a text, several texts, or token ids [batch, pos]"
            )
        return Rows.of([self.ids(one)[0] for one in texts])

    def unembed(self, final: Float[Tensor, "batch pos model"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits that the normed residual stream `final` says; gradients flow as in `logits`."""
        return self.graph.run(self.weights, {"final": final}, ("logits",))["logits"]

    def forward(
        self, ids: Int[Tensor, "batch pos"], taps: Taps | None = None, cache: ModelCache | None = None
    ) -> ForwardRun:
        """Run `ids` (behind what `cache` holds), recording and replacing what `taps` says.

        Args:
            ids: Token ids, [batch, pos].
            taps: What is recorded, and what is put in the place of activations.
            cache: What was run before these; it grows.

        Returns:
            Logits, and activations by name.

        Raises:
            PellucidError: Ids that are no tokens, more positions than the context has, or names that are no
                activations.
        """
        taps = taps or Taps()
        record = [name for pattern in taps.record for name in self._names(pattern)]
        grown = None if cache is None else cache.grown(ids.shape[1])
        end = self.last_resid
        values = self.run(ids, tuple(dict.fromkeys(("logits", end, *record))), edits=taps.replace, cache=grown)
        if taps.replace and (self.is_broken("logits", values["logits"]) or self.is_broken(end, values[end])):
            raise PellucidError(
                f"with {', '.join(taps.replace)} replaced the logits are no longer finite numbers, or the stream is "
                f"too large for a norm to read in {self.precision}; put something smaller there"
            )
        return ForwardRun(values["logits"], {name: values[name] for name in record}, grown)

    def is_broken(self, name: str, value: Tensor) -> bool:
        """Whether an activation is not finite (a score may be −inf), or a stream whose squares do not add up."""
        if not value.numel():
            return False
        low, high = map(float, value.detach().aminmax())  # one pass over it, and what is no number is both
        largest = torch.finfo(value.dtype).max
        if ".resid_" in name:
            return not max(-low, high) < (largest / value.shape[-1]) ** 0.5
        if name.endswith(".scores") and low == -torch.inf:
            low = 0.0
        return not (low >= -largest and high <= largest)

    def run(
        self,
        ids: Int[Tensor, "batch pos"],
        want: Sequence[str],
        given: Mapping[str, Tensor] | None = None,
        edits: Mapping[str, Edit] | None = None,
        cache: ModelCache | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> dict[str, Tensor]:
        """Only the activations `want`, restarting from the activations `given` where that saves work.

        `cache` is one already `grown` by the length of `ids`, which this fills. `pads` says how many of the first
        tokens of each row (those in the cache count) are padding: positions are counted behind it, and nobody looks
        at it.
        """
        start = 0 if cache is None else cache.length - ids.shape[1]
        end = start + ids.shape[1]
        self._check(ids, end)
        positions = torch.arange(start, end, device=self.device).unsqueeze(0)
        mask = causal_mask(end - start, end, self.dtype, self.device)
        if pads is not None:
            behind = pads.to(self.device)[:, None]
            positions = (positions - behind).clamp(min=0)
            padding = torch.arange(end, device=self.device) < behind
            mask = mask.masked_fill(padding[:, None, None], torch.finfo(self.dtype).min)
        inputs: dict[str, Any] = {
            "ids": ids.to(self.device),
            "positions": positions,
            "mask": mask,
            "cache": cache,
            "pads": pads,
        }
        given, edits = given or {}, edits or {}
        return self.graph_of((*want, *given, *edits)).run(self.weights, inputs | dict(given), want, edits)

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: ModelCache | None = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], ModelCache]:
        """The logits after each of `ids` (or after the last only), which follow what `cache` holds; and the new cache.

        The old cache stays valid. Raises `PellucidError` beyond `n_ctx` positions.
        """
        grown = (cache or ModelCache()).grown(ids.shape[1])
        with torch.inference_mode():
            rows = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64))
            final = self.run(rows, ("final",), cache=grown)["final"]
            final = final[:, -1:] if last_only else final
            return self.unembed(final).float().cpu().numpy(), grown

    def ids(self, text: str) -> Int[Tensor, "one pos"]:
        """The tokens of `text`, begun as the subject expects it, as a batch of one row; an empty text is what texts
        begin with.

        Args:
            text: A text.

        Returns:
            Token ids, [1, pos].

        Raises:
            PellucidError: An empty text where texts of the subject begin with nothing; a word that its tokenizer does
                not have.
        """
        ids = self.tokenizer.opened(text) or list(self.tokenizer.start)
        if not ids:
            raise PellucidError(f"the text is empty and {self.subject.name} has no token to begin with; give some text")
        return torch.tensor([ids], device=self.device)

    def generate(
        self,
        prompt: str | Sequence[int],
        tokens: int = 20,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        changes: Iterable[Changes] = (),
    ) -> str:
        """What the model says after `prompt`, text or ids: at most `tokens` tokens, to its end or a `stop` string.

        The likeliest tokens at `temperature` 0, else drawn from `seed` among the likeliest that hold `top_p` of the
        probability. Of `changes` (`pellucid.steer`, `patch`, …) positions are the prompt's, negative ones count from
        its end, and ranges without an end go on over what is written. `pellucid.generate` also records. Raises
        `PellucidError` for a prompt that the model cannot read.

        Args:
            prompt: A text, or token ids.
            tokens: How many tokens are said at most.
            temperature: 0 for the likeliest tokens, above 0 for drawn ones.
            top_p: Draw among the likeliest tokens that hold this share of the probability.
            seed: What is drawn, is drawn from it.
            stop: Texts before which it ends.
            changes: Changes, as `replace` and others make them.

        Returns:
            The text that was said behind the prompt.

        Raises:
            PellucidError: A temperature below 0, a `top_p` that is no share, or changes that do not fit; a prompt that
                the subject cannot read: empty, longer than its context, or a word or id that it does not have.
        """
        ids, changed = self.rows(prompt if isinstance(prompt, str) else [*prompt]).ids, tuple(changes)
        self._check(ids, ids.shape[1])
        until = Until(tokens, self.tokenizer.ends, stop)
        predictor = Changed(self, changed, ids.shape[1]) if changed else self
        choice = Sampling(temperature, top_p, seed)
        (written,) = write(predictor, ids.cpu().numpy(), choice, until, lambda _, said: self.tokenizer.decode(said))
        return written.text

    def writes(self, ids: Int[Tensor, "batch pos"]) -> Iterator[tuple[Address, Float[Tensor, "_ _ model"]]]:
        """What each address writes to the residual stream, lazily; they add up to the final one.

        Args:
            ids: Token ids, [batch, pos].

        Returns:
            Pairs of address and write, [batch, pos, model].

        Raises:
            PellucidError: Ids that are no tokens, or more positions than the context has.
        """
        from pellucid.exact.writes import writes

        return writes(self, ids)

    def _names(self, pattern: str) -> list[str]:
        """The activations that `pattern` fits, among the inner ones only where no other fits."""
        found = self.graph.names(pattern) or [name for name in self._inner if fnmatchcase(name, pattern)]
        if not found:
            raise self.graph.unknown(pattern)
        return found

    def graph_of(self, names: Sequence[str]) -> Graph:
        """The graph that has all of `names`: finer where they look inside a norm or a head's write."""
        inner = frozenset(name for name in names if name not in self.graph)
        if not inner:
            return self.graph
        if inner not in self._refined:
            self._refined[inner] = refine(self.graph, inner)
        return self._refined[inner]

    def _check(self, ids: Tensor, end: int) -> None:
        if end > self.n_ctx:
            raise PellucidError(f"{end} tokens are more than the {self.n_ctx} positions of {self.subject.name}")
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.n_vocab:
            wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
            raise PellucidError(f"token id {wrong} is not in 0 … {self.n_vocab - 1}, the ids of {self.subject.name}")


def _are_ids(found: object) -> bool:
    """Whether `found` is a list of whole numbers; one that is no token is told of where it is read."""
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        return False
    return all(isinstance(one, int) and not isinstance(one, bool) and abs(one) < 1 << 62 for one in found)


@lru_cache(maxsize=4)
def causal_mask(query: int, key: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "query key"]:
    """What is added to scores: 0 where the key is no later than the query (the last queries of `key`), else −max."""
    with torch.inference_mode(False):
        late = torch.full((query, key), torch.finfo(dtype).min, dtype=dtype, device=device)
        return torch.triu(late, diagonal=1 + key - query)

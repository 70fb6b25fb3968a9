"""Activations of a text in random order: chunk after chunk of rows runs through the model, each shuffled by itself.

Rows are drawn over the whole text, so a chunk of them is a sample of it. What a chunk holds and how it is shuffled
depends on the text, the seed and its number alone: a training that was killed goes on at any chunk. Memory holds one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import CLOSED, read_json
from pellucid.base.tensors import save_tensors
from pellucid.corpus.rows import Row, padded
from pellucid.dictionary.file import tensors_in
from pellucid.dictionary.sound import site_of
from pellucid.exact.model import Model

CACHE = "cache.json"
_ROWS = 16
"""Rows that run together."""


@dataclass(frozen=True)
class CachedText:
    """What a cache of activations belongs to."""

    __pydantic_config__ = CLOSED
    weights: str
    rows: str
    seed: int
    chunk: int


@dataclass(frozen=True)
class ActivationStream:
    """The activations `names` of `rows`, about `chunk` places at a time; kept in `cache` if that is given."""

    model: Model
    rows: Sequence[Row] = field(repr=False)
    names: tuple[str, ...]
    seed: int = 0
    chunk: int = 32_768
    cache: Path | None = None

    @cached_property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the rows of each chunk."""
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self.seed)).tolist()
        found: list[list[int]] = [[]]
        held = 0
        for number in order:
            if held and held + len(self.rows[number]) > self.chunk:
                found.append([])
                held = 0
            found[-1].append(number)
            held += len(self.rows[number])
        return tuple(map(tuple, found))

    @property
    def places(self) -> int:
        """How many places the rows have."""
        return sum(map(len, self.rows))

    def prepared(self) -> ActivationStream:
        """This stream, once its cache is known to be of this text. Raises `PellucidError` for one of another."""
        for name in self.names:
            site_of(self.model, name)
        if self.cache is not None:
            path = self.cache / CACHE
            if not path.is_file():
                write_text(path, json.dumps(asdict(self._about)) + "\n")
            elif (found := read_json(CachedText, path)) != self._about:
                other = next(name for name, own in asdict(self._about).items() if getattr(found, name) != own)
                raise PellucidError(
                    f"{self.cache} holds activations of another {_SAID[other]}; name an empty folder, or train with "
                    "the subject, text, tokens and seed that it was made with"
                )
        return self

    @property
    def _about(self) -> CachedText:
        digest = sha256(b"\n".join(row.tokens.astype("<i4").tobytes() for row in self.rows)).hexdigest()
        return CachedText(self.model.subject.weights_sha256, digest, self.seed, self.chunk)

    def batches(self, size: int, first: int = 0, total: int | None = None) -> Iterator[dict[str, Tensor]]:
        """Batches of `size` places from number `first` on, `total` in all: each activation [place, width].

        Where the text ends it begins again, in another order.
        """
        number, turn = 0, 0
        while total is None or number < total:
            for chunk in range(len(self.parts)):
                count = sum(len(self.rows[row]) for row in self.parts[chunk]) // size
                if number + count > first:
                    held = self.activations(chunk)
                    draw = torch.Generator().manual_seed((self.seed << 40) + (turn << 20) + chunk)
                    order = torch.randperm(len(next(iter(held.values()))), generator=draw)
                    for at in range(count):
                        if first <= number + at and (total is None or number + at < total):
                            chosen = order[at * size : (at + 1) * size]
                            yield {name: values[chosen] for name, values in held.items()}
                number += count
                if total is not None and number >= total:
                    return
            if not number:
                raise PellucidError(f"the text has {self.places:,} tokens, fewer than one batch of {size:,}")
            turn += 1

    def activations(self, chunk: int) -> dict[str, Float[Tensor, "place _"]]:
        """The activations of a chunk, in the order of its rows; from the cache if it has all of them."""
        shards = {
            name: None if self.cache is None else self.cache / name / f"{chunk:06d}.safetensors" for name in self.names
        }
        kept = {name: shard for name, shard in shards.items() if shard is not None and shard.is_file()}
        found = {name: tensors_in(shard)["activations"] for name, shard in kept.items()}
        if missing := [name for name in self.names if name not in found]:
            run = self._run(self.parts[chunk], missing)
            for name in missing:
                found[name] = run[name]
                if (shard := shards[name]) is not None:
                    save_tensors(shard, {"activations": run[name].contiguous()})
        return {name: found[name] for name in self.names}

    def _run(self, numbers: Sequence[int], names: Sequence[str]) -> dict[str, Float[Tensor, "place _"]]:
        """The activations of these rows, computed."""
        sites = {name: site_of(self.model, name).activation for name in names}
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for begin in range(0, len(numbers), _ROWS):
            rows = [self.rows[number] for number in numbers[begin : begin + _ROWS]]
            ids = torch.from_numpy(padded(rows)).to(self.model.device)
            own = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
            with torch.inference_mode():
                values = self.model.run(ids, tuple(dict.fromkeys(sites.values())))
            for name, activation in sites.items():
                found[name].append(values[activation].flatten(2).cpu()[own].float().clone())
        return {name: torch.cat(parts) for name, parts in found.items()}


_SAID = {"weights": "subject", "rows": "text", "seed": "seed", "chunk": "size of chunks"}


def moments(stream: ActivationStream) -> dict[str, tuple[Float[Tensor, " width"], float]]:
    """Of each activation of the first chunk its mean, and what makes the mean square around it 1 a number."""
    found = {}
    for name, values in stream.activations(0).items():
        mean = values.mean(0)
        spread = float((values - mean).square().mean())
        found[name] = (mean, spread**-0.5 if spread > 0 else 1.0)
    return found

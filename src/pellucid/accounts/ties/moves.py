"""Interchange interventions: what carries a variable in a source run is put into a base run, which goes on from there.

Only what stands at and behind the position with the role is computed anew: what is before it comes from a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.accounts.ties.carrier import Carrier, stream
from pellucid.engine.sites import heads_write
from pellucid.exact.cache import ModelCache
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model

BATCH = 4096
"""Positions that are read at once."""
KEPT = 1 << 27
"""Numbers of caches that are kept from one question to the next, at most (512 MiB of them)."""


@dataclass(frozen=True)
class EndStates:
    """What stands at the ends of prompts: the token, what all heads write, the residual stream behind each layer, and
    what is said."""

    tokens: Int[Tensor, " prompt"]
    heads: Float[Tensor, "prompt layer head dim"]
    streams: Float[Tensor, "prompt layer model"]
    says: Int[Tensor, " prompt"]


def states(model: Model, prompts: Sequence[Sequence[int]]) -> EndStates:
    """The states at the ends of prompts of any lengths."""
    written = heads_write(model)
    layers = [f"L{layer:02d}" for layer in range(model.decoder.layers)]
    names = [*(f"{at}.{written}" for at in layers), *(stream(layer) for layer in range(len(layers)))]
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    heads, streams, says = list[Tensor](), list[Tensor](), list[Tensor]()
    size = max(1, BATCH // max(map(len, prompts)))
    for start in range(0, len(order), size):
        rows = model.rows([list(prompts[at]) for at in order[start : start + size]])
        found = model.run(rows.ids, (*names, "final"), pads=rows.pads)
        heads.append(torch.stack([found[name][:, -1] for name in names[: len(layers)]], 1))
        streams.append(torch.stack([found[name][:, -1] for name in names[len(layers) :]], 1))
        says.append(model.unembed(found["final"][:, -1:])[:, 0].argmax(-1))
    back = torch.tensor(order).argsort()
    tokens = torch.tensor([prompt[-1] for prompt in prompts])
    return EndStates(tokens, torch.cat(heads)[back], torch.cat(streams)[back], torch.cat(says)[back])


@dataclass(frozen=True)
class Move:
    """A base prompt, the position in it where something is put, and which states of sources that is taken from.

    `token` is the answer that is expected, `instead` the one that the base has without it.
    """

    ids: Sequence[int]
    at: int
    source: int
    token: int
    instead: int


@dataclass(frozen=True)
class Outcome:
    """Whether each move gave what was expected, and how far it was ahead of what the base says, on average (nats)."""

    hits: Bool[Tensor, " move"]
    margin: float

    @property
    def agreement(self) -> float:
        """The share of moves that gave what was expected."""
        return float(self.hits.double().mean())

    @property
    def rank(self) -> tuple[int, float]:
        """What is larger is better."""
        return int(self.hits.sum()), self.margin


@dataclass(frozen=True)
class _Batch:
    """Moves that are computed together; `first` are the tokens before what is changed, padded at the left."""

    moves: Sequence[Move]
    first: Int[Tensor, "move before"]
    rest: Int[Tensor, "move rest"]
    pads: Int[Tensor, " move"]


class Moves:
    """Moves between prompts, to be made by one carrier after another."""

    def __init__(self, model: Model, moves: Sequence[Move], sources: EndStates) -> None:
        self._model, self._sources = model, sources
        self._order = sorted(range(len(moves)), key=lambda at: (len(moves[at].ids) - moves[at].at, moves[at].at))
        self._batches = [_batch(own) for own in _batched([moves[at] for at in self._order], model.n_ctx)]
        self._kept: dict[int, ModelCache] = {}
        self._room = KEPT

    def __len__(self) -> int:
        return len(self._order)

    def by(self, carriers: Sequence[Carrier]) -> list[Outcome]:
        """What comes of all moves by each of `carriers`, whose position is that of the moves."""
        hits: list[list[Tensor]] = [[] for _ in carriers]
        margins = [0.0] * len(carriers)
        for number, batch in enumerate(self._batches):
            cache = self._before(number, batch)
            for at, carrier in enumerate(carriers):
                logits = self._logits(batch, cache, carrier)
                wanted, instead = (
                    torch.tensor([getattr(move, name) for move in batch.moves], device=logits.device)[:, None]
                    for name in ("token", "instead")
                )
                hits[at].append(logits.argmax(-1) == wanted[:, 0])
                margins[at] += float((logits.gather(1, wanted) - logits.gather(1, instead)).sum())
        back = torch.tensor(self._order).argsort()
        return [
            Outcome(torch.cat(own).cpu()[back], margin / len(self)) for own, margin in zip(hits, margins, strict=True)
        ]

    def _before(self, number: int, batch: _Batch) -> ModelCache:
        """What the model remembers of the tokens before what is changed."""
        if (known := self._kept.get(number)) is not None:
            return known
        cache = ModelCache().grown(batch.first.shape[1])
        if batch.first.shape[1]:
            self._model.run(batch.first, ("final",), cache=cache, pads=batch.pads)
        size = 2 * batch.first.numel() * self._model.decoder.layers * self._sources.streams.shape[-1]
        if size <= self._room:
            self._room -= size
            self._kept[number] = cache
        return cache

    def _logits(self, batch: _Batch, cache: ModelCache, carrier: Carrier) -> Float[Tensor, "move vocab"]:
        """The logits at the ends of the prompts, with what `carrier` holds in the sources in its place."""
        sources = torch.tensor([move.source for move in batch.moves])
        ids, edits = batch.rest, self._edits(carrier, sources)
        if carrier.is_token:
            ids = torch.cat([self._sources.tokens[sources][:, None].to(ids), ids[:, 1:]], 1)
        grown = cache.grown(ids.shape[1])
        final = self._model.run(ids, ("final",), edits=edits, cache=grown, pads=batch.pads)["final"]
        ends = torch.tensor([len(move.ids) - move.at - 1 for move in batch.moves], device=final.device)
        return self._model.unembed(final[torch.arange(len(ends), device=final.device), ends][:, None])[:, 0]

    def _edits(self, carrier: Carrier, sources: Int[Tensor, " move"]) -> dict[str, Edit]:
        if carrier.is_token:
            return {}
        if carrier.behind is not None:
            taken = self._sources.streams[sources, carrier.behind]
            return {stream(carrier.behind): _put(taken, [])}
        by_layer: dict[int, list[int]] = {}
        for layer, head in carrier.heads:
            by_layer.setdefault(layer, []).append(head)
        written = heads_write(self._model)
        return {
            f"L{layer:02d}.{written}": _put(self._sources.heads[sources, layer][:, heads], heads)
            for layer, heads in by_layer.items()
        }


def _put(taken: Tensor, heads: list[int]) -> Edit:
    """Puts `taken` into the first position, of `heads` alone if any are named."""

    def edit(x: Tensor) -> Tensor:
        x = x.clone()
        if heads:
            x[:, 0, heads] = taken.to(x)
        else:
            x[:, 0] = taken.to(x)
        return x

    return edit


def _batched(moves: Sequence[Move], longest: int) -> Iterator[list[Move]]:
    """Moves that are read together: of like length, and short enough for the model with all their padding."""
    own = list[Move]()
    for move in moves:
        before, rest = _longest([*own, move], lambda one: one.at), _longest([*own, move], _rest)
        if own and (before + rest > longest or (before + rest) * (len(own) + 1) > BATCH):
            yield own
            own = []
        own.append(move)
    if own:
        yield own


def _longest(moves: Sequence[Move], length: Callable[[Move], int]) -> int:
    return max(map(length, moves))


def _rest(move: Move) -> int:
    return len(move.ids) - move.at


def _batch(moves: Sequence[Move]) -> _Batch:
    before, rest = _longest(moves, lambda one: one.at), _longest(moves, _rest)
    pads = torch.tensor([before - move.at for move in moves])
    first = torch.tensor([[0] * (before - move.at) + list(move.ids[: move.at]) for move in moves], dtype=torch.long)
    behind = [list(move.ids[move.at :]) for move in moves]
    return _Batch(
        moves, first.view(len(moves), before), torch.tensor([own + [0] * (rest - len(own)) for own in behind]), pads
    )

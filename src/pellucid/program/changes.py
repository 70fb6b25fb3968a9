"""Edits at work: what `edits.py` adds to the parts of this program.

An edit speaks for tokens along one direction of the residual stream, which follows from the weights: that in which the
final norm and the unembedding tell these tokens from others, turned so that what reads the stream in between hears
little of it (where nothing does, so that other tokens do). So an edit holds no vectors, and what it does to the logits
is nearly what it writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from .prelude import CHANGES, READS, Change, Floats, Integers, Place, ProgramError, TokenSets
from .runtime import Config, Function

HEARD = 0.3
"""How much is made of what later heads read, beside what later neurons do."""
BEFORE = -1
"""The layer of what tokens write: before the first."""
EVEN = 0.02
"""How much is made of every direction alike, so that none is free."""


@runtime_checkable
class Says(Protocol):
    """A source of a part, checked."""

    def __call__(self, shape: tuple[int, ...], **given: object) -> Floats:
        """What it says, in a form that broadcasts to `shape`."""
        ...


class Directions:
    """Directions of the residual stream that speak for tokens."""

    def __init__(self, config: Config, weights: dict[str, Floats]):
        self.config, self.weights = config, weights
        self.written = weights["EMB.TOK"]  # [vocab, model]
        self.table = weights["EMB.TOK"]  # [vocab, model]  # for: not untied
        self.table = weights["UNEMB"]  # [vocab, model]  # for: untied
        self.mean = self.table.mean(0)
        self._free: dict[tuple[int, bool], Floats] = {}

    def reads(self, ids: Integers) -> Floats:
        """What the final norm and the unembedding read for tokens, less what they read for all, [token, model]."""
        rows: Floats = (self.table[ids] - self.mean) * self.weights["LNF"]
        rows -= rows.mean(-1, keepdims=True)  # for: layer norm
        return rows

    def __call__(self, layer: int, before_neurons: bool, says: Integers, over: Integers) -> Floats:
        """The direction, [model], of a write in `layer`, in front of its neurons or beside them.

        One unit of it moves the logits of `says` and of `over` apart by one over the scale of the final norm.
        """
        wanted = sum((sign * self.reads(ids).mean(0) for sign, ids in ((1, says), (-1, over)) if len(ids)), np.zeros(1))
        found = self.free(layer, before_neurons) @ wanted
        with np.errstate(all="ignore"):
            direction: Floats = (found / (wanted @ found)).astype(np.float32)
        if not np.isfinite(direction).all():
            raise ProgramError(
                f"the tokens {says.tolist()} and {over.tolist()} are read alike; nothing tells them apart"
            )
        return direction

    def instead(self, says: Integers, over: Integers) -> Floats:
        """What tokens write first, less what others do, [model]."""
        found = self.written[says].mean(0) - self.written[over].mean(0)
        found = found * self.config.embed_scale  # for: scaled embedding
        return np.asarray(found, np.float32)

    def free(self, layer: int, before_neurons: bool) -> Floats:
        """The inverse of how much is heard of every direction from there on, [model, model]."""
        key = (layer, before_neurons)
        if key not in self._free:
            heard = self._neurons(range(layer if before_neurons else layer + 1, self.config.layers))
            heads = self._heads(range(layer + 1, self.config.layers))
            size = float(np.trace(heard))
            whole = heard / size + HEARD * heads if size else self._spread  # behind all of them: other tokens hear
            even = EVEN * np.eye(self.config.model)
            share = self.config.model / max(float(np.trace(whole)), 1e-9)
            inverse: Floats = np.linalg.inv(whole * share + even)
            self._free[key] = inverse
        return self._free[key]

    def _neurons(self, layers: range) -> Floats:
        """What neurons hear, each weighed by what it does to the logits, [model, model]."""
        total: Floats = np.zeros((self.config.model, self.config.model), np.float32)
        for n in layers:
            at = f"L{n:02d}"
            write = self.weights[f"{at}.N*.OUT"]
            write = write * self.weights[f"{at}.MLP.LN"]  # for: norms behind
            effect = np.einsum("nm,mk,nk->n", write, self._spread, write, optimize=True)
            for name in ("GATE", "UP"):  # for: gated
                read = self._heard(f"{at}.N*.{name}", f"{at}.LN2")
                total += (read * effect) @ read.T
            read = self._heard(f"{at}.N*.IN", f"{at}.LN2")  # for: not gated
            total += (read * effect) @ read.T  # for: not gated
        return total

    def _heads(self, layers: range) -> Floats:
        """What queries, keys and values read, all alike, [model, model]; the trace is one a layer."""
        total: Floats = np.zeros((self.config.model, self.config.model), np.float32)
        for n in layers:
            for name in ("H*.Q", "H*.K", "H*.V"):  # for: not grouped
                read = self._heard(f"L{n:02d}.{name}", f"L{n:02d}.LN1")
                total += read @ read.T / np.square(read).sum() / 3
            for name in ("H*.Q", "G*.K", "G*.V"):  # for: grouped
                read = self._heard(f"L{n:02d}.{name}", f"L{n:02d}.LN1")
                total += read @ read.T / np.square(read).sum() / 3
        return total

    def _heard(self, weight: str, gain: str) -> Floats:
        """What is read of the stream before its norm, [model, reader]."""
        read: Floats = self.weights[weight].reshape(self.config.model, -1) * self.weights[gain][:, None]
        read -= read.mean(0)  # for: layer norm
        return read

    @cached_property
    def _spread(self) -> Floats:
        """How far a write along every direction moves the logits, [model, model]."""
        gain = self.weights["LNF"]
        gram = self.table.T @ self.table / len(self.table) - np.outer(self.mean, self.mean)
        return np.asarray(gram * np.outer(gain, gain), np.float32)


class Edited:
    """One edit at work."""

    def __init__(self, change: Change, directions: Directions):
        if change.function is None:
            raise ProgramError(f"{change} has no function below it")
        layer, piece, *_ = (BEFORE, "") if change.address == READS else change.address[1:].split(".")
        self.change, self.layer, self.directions = change, int(layer), directions
        self.kind = change.address.rpartition(".")[2]
        self.head = int(piece[1:]) if self.kind == "OV" else -1
        name = f"{change.address} ({change.function.__name__})"
        self.function = Function(change.function, change.file, str(change), name)
        allowed = {"query", "key"} if self.kind == "OV" else set[str]() if self.kind == "B" else {"here"}
        if unknown := set(self.function.asks) - allowed:
            raise ProgramError(f"{change} asks for {', '.join(sorted(unknown))}; it may ask for {sorted(allowed)}")
        self._direction: Floats | None = None

    def direction(self, vocabulary: TokenSets) -> Floats:
        """The direction along which it writes, [model]."""
        if self._direction is None:
            says, over = (np.array([vocabulary.id_of(text) for text in side], np.int64) for side in self.tokens)
            reads = self.change.address == READS
            found = self.directions
            self._direction = found.instead(says, over) if reads else found(self.layer, self.kind == "OV", says, over)
        return self._direction

    @property
    def tokens(self) -> tuple[tuple[str | int, ...], tuple[str | int, ...]]:
        """What it speaks for, and against."""
        return self.change.says, self.change.over


@dataclass(frozen=True)
class Delta:
    """What an edit by hand changed: the source as it is now, less what it was."""

    now: Says
    before: Says

    def __call__(self, shape: tuple[int, ...], **given: object) -> Floats:
        """The difference, in a form that broadcasts to `shape`."""
        return self.now(shape, **given) - self.before(shape, **given)


class Changes:
    """The edits of this program, by layer."""

    def __init__(self, config: Config, weights: dict[str, Floats]):
        self.config, self.weights = config, weights
        self.moves: dict[int, list[Edited]] = {}  # what heads move beside all else
        self.writes: dict[int, list[Edited]] = {}  # what neurons and inserted parts write; tokens: BEFORE
        self.deltas: dict[tuple[int, str], list[tuple[int, Delta]]] = {}  # by layer and kind: member, what was changed
        self.collect()

    def collect(self) -> None:
        """Take over what stands in the registries now."""
        self.moves, self.writes = {}, {}
        for found in self.made(CHANGES):
            (self.moves if found.kind == "OV" else self.writes).setdefault(found.layer, []).append(found)

    def made(self, changes: list[Change]) -> Iterator[Edited]:
        """Edits at work, of what pages say."""
        for change in changes:
            found = Edited(change, self.directions)
            if found.layer >= self.config.layers or found.head >= self.config.heads:
                raise ProgramError(f"{change}: this model has no such part")
            yield found

    @cached_property
    def directions(self) -> Directions:
        """What all edits write along."""
        return Directions(self.config, self.weights)

    def move(self, layer: int, write: Floats, pattern: Floats, query: Place, key: Place) -> None:
        """Add what edited heads move beside all else to `write` [batch, query, model]."""
        shape = pattern[:, 0].shape
        for edited in self.moves.get(layer, ()):
            strength = edited.function(shape, {"query": query, "key": key})
            if strength.any():
                amount = np.einsum("bqk,bqk->bq", pattern[:, edited.head], np.broadcast_to(strength, shape))
                write += amount[..., None] * edited.direction(query.vocabulary)

    def write(self, layer: int, write: Floats, here: Place) -> None:
        """Add what edited neurons and inserted parts of a layer write to `write` [batch, pos, model].

        In the layer `BEFORE` that is what is read in the place of the tokens that stand there.
        """
        for edited in self.writes.get(layer, ()):
            given = {} if edited.kind == "B" else {"here": here}
            strength = np.broadcast_to(edited.function(write.shape[:2], given), write.shape[:2])
            if strength.any():
                write += strength[..., None] * edited.direction(here.vocabulary)

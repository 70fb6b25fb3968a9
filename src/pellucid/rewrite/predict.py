"""What an edit will do to the logits, from its source and linear paths alone.

An edit adds a known write to the residual stream: its strength, which its source says of the text, times the share of
the keys that a head takes from (nothing before the edit changes that), times its direction. From there on the change is
carried along linear paths of the program as it was before: attention patterns stay as they are, neurons answer along
their slope, and norms divide by a named value, the scale, which follows from the change itself. The edited program is
never run.

How far neurons bend on the way is looked at beside that: where it matters, the prediction says that it is not sure.

What a program does that reads one token as another is known without that: it is what the program as it is does on the
text with the other token in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.exact.ops import capped
from pellucid.exact.views import LayerView
from pellucid.family import seams
from pellucid.family.activations import activation
from pellucid.family.blocks import Block
from pellucid.listing.load import Program
from pellucid.rewrite.source import Speech, function, page
from pellucid.rewrite.workbench import BATCH, PaddedRows, Workbench

Stream = Float[Tensor, "batch pos model"]


@runtime_checkable
class EditAtWork(Protocol):
    """One edit at work: `Edited` of `program/changes.py`, as the program has it."""

    layer: int
    kind: str
    head: int
    change: Any

    @property
    def function(self) -> Any:
        """How strongly it speaks."""
        ...

    def direction(self, vocabulary: Any) -> Any:
        """Along what it writes, [model]."""
        ...


@dataclass(frozen=True)
class WriteStart:
    """Where a write enters the stream: its layer, in front of the neurons (a head's) or behind them."""

    layer: int
    before_neurons: bool


def needed(model: Model, start: WriteStart) -> list[str]:
    """The activations, before the edit, that paths from `start` on need."""
    names = ["logits", "final"] if model.decoder.logit_cap else ["logits"]
    for layer in range(start.layer, model.decoder.layers):
        at, block = seams.at(layer), model.decoder.blocks[layer]
        if layer > start.layer:
            names += [at.resid_pre, at.pattern, *([at.attn_sum] if block.attention.behind else [])]
        if layer > start.layer or _heard_at_once(block, start):
            names += [at.pre, at.resid_pre if block.parallel else at.resid_mid]
            names += [at.up] if block.mlp.gate else []
            names += [at.mlp_sum] if block.mlp.behind else []
    return [*dict.fromkeys([*names, model.last_resid])]


def _heard_at_once(block: Block, start: WriteStart) -> bool:
    """Whether the neurons of the layer that is written in read the write."""
    return start.before_neurons and not block.parallel


def carried(
    model: Model, before: dict[str, Tensor], start: WriteStart, write: Stream, *, bent: bool = False
) -> Float[Tensor, "batch pos vocab"]:
    """The change of the logits that `write` makes; `before` has what `needed` names.

    With `bent` neurons answer as they do, and not along their slope.
    """
    change = write
    for layer in range(start.layer, model.decoder.layers):
        at, own = seams.at(layer), model.layer(layer)
        if layer > start.layer:
            found = change
            change = change + _moved(own, before, own.norm1.changed(before[at.resid_pre], found))
            if own.block.parallel:
                change = change + _fired(own, before, own.norm2.changed(before[at.resid_pre], found), bent=bent)
        if not own.block.parallel and (layer > start.layer or start.before_neurons):
            change = change + _fired(own, before, own.norm2.changed(before[at.resid_mid], change), bent=bent)
    said = model.final_norm.changed(before[model.last_resid], change) @ model.unembedding.T
    cap = model.decoder.logit_cap
    if cap is None:
        return said
    return capped(before["final"] @ model.unembedding.T + said, cap) - before["logits"]


def _moved(own: LayerView, before: dict[str, Tensor], read: Stream) -> Stream:
    """What heads move of a change, looking where they looked before."""
    at = seams.at(own.layer)
    pattern = before[at.pattern]
    values = torch.einsum("bpm,mgd->bpgd", read, own.value)
    values = values.repeat_interleave(pattern.shape[1] // values.shape[2], 2)  # heads of a group share them
    written = torch.einsum("bhqk,bkhd->bqhd", pattern, values).flatten(2) @ own.out.flatten(0, 1)
    return written if own.behind is None else own.behind.changed(before[at.attn_sum], written)


def _fired(own: LayerView, before: dict[str, Tensor], read: Stream, *, bent: bool) -> Stream:
    """What neurons write of a change; their slopes are kept in `before`."""
    at, act, driven = seams.at(own.layer), activation(own.block.mlp.activation).torch, read @ own.read
    pre = before[at.pre]
    if bent:
        fired = act(pre + driven) - act(pre)
    else:
        if f"{at.pre}.slope" not in before:
            with torch.enable_grad():
                leaf = pre.detach().requires_grad_()
                (before[f"{at.pre}.slope"],) = torch.autograd.grad(act(leaf).sum(), leaf)
        fired = before[f"{at.pre}.slope"] * driven
    if own.block.mlp.gate is not None:
        up, lifted = before[at.up], read @ own.up
        fired = fired * (up + lifted) + act(pre) * lifted if bent else fired * up + act(pre) * lifted
    written = fired @ own.write
    return written if own.behind_mlp is None else own.behind_mlp.changed(before[at.mlp_sum], written)


def ready(bench: Workbench, speeches: Sequence[Speech]) -> list[EditAtWork]:
    """Speeches ready to be called, without the program taking them over."""
    helpers: dict[str, str] = {}
    functions = [function(speech, 1, f"edit_{n}", "Tried.", helpers) for n, speech in enumerate(speeches)]
    return bench.program.tried(page(None, helpers, functions))


# --- what an edit writes ----------------------------------------------------------------------------------------------


def start_of(edit: EditAtWork) -> WriteStart:
    """Where an edit writes."""
    return WriteStart(edit.layer, edit.kind == "OV")


def strengths(program: Program, edit: EditAtWork, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos *key"]:
    """How strongly an edit speaks, by its source: [batch, query, key] for a head, else [batch, pos]."""
    view = program.sources.view(ids.numpy())
    length = ids.shape[1]
    if edit.kind == "OV":
        shape: tuple[int, ...] = (len(ids), length, length)
        given: dict[str, object] = {"query": view.query(0, length), "key": view.key(length)}
    else:
        shape, given = (len(ids), length), {} if edit.kind == "B" else {"here": view.here}
    said = np.broadcast_to(edit.function(shape, given), shape)
    found = torch.from_numpy(np.array(said, np.float32))
    return found * torch.tril(torch.ones(length, length)) if edit.kind == "OV" else found


def acts(program: Program, edits: Sequence[EditAtWork], text: PaddedRows, most: int) -> Bool[Tensor, "row pos"]:
    """Where any of the edits speaks at all; after `most` rows where one does, others are not looked at."""
    found = torch.zeros(text.ids.shape, dtype=torch.bool)
    for at in range(0, len(text.ids), BATCH):
        for edit in edits:
            said = strengths(program, edit, text.ids[at : at + BATCH]) != 0
            found[at : at + BATCH] |= said.any(-1) if edit.kind == "OV" else said
        if int((found & text.inside).any(1).sum()) >= most:
            break
    return found & text.inside


def direction(bench: Workbench, edit: EditAtWork) -> Float[Tensor, " model"]:
    """Along what an edit writes."""
    return torch.from_numpy(np.array(edit.direction(bench.program.sources.vocabulary)))


def written(bench: Workbench, edit: EditAtWork, ids: Int[Tensor, "batch pos"], pattern: Tensor | None) -> Stream:
    """What an edit writes; `pattern` [batch, query, key] is that of its head."""
    said = strengths(bench.program, edit, ids)
    amount = said if pattern is None else (said * pattern).sum(-1)
    return amount[..., None] * direction(bench, edit)


@dataclass(frozen=True)
class LogitChange:
    """Logits before an edit and how they change, on rows where it speaks; `doubt` is how much neurons bend."""

    text: PaddedRows
    before: Float[Tensor, "row pos vocab"]
    change: Float[Tensor, "row pos vocab"]
    bent: Float[Tensor, "row pos vocab"]


def predict(bench: Workbench, edits: Sequence[EditAtWork], text: PaddedRows) -> LogitChange:
    """What `edits` of one intent will do on `text`, in linear paths of the program as it is now."""
    if not len(text.ids):
        nothing = torch.zeros(*text.ids.shape, bench.model.n_vocab)
        return LogitChange(text, nothing, nothing, nothing)
    how = _reread if any(edit.kind == "TOK" for edit in edits) else _predict
    parts = [how(bench, edits, text.ids[at : at + BATCH]) for at in range(0, len(text.ids), BATCH)]
    return LogitChange(text, *(torch.cat(part) for part in zip(*parts, strict=True)))


def _reread(bench: Workbench, edits: Sequence[EditAtWork], ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the program says now, and what changes where the text has the tokens that are read instead."""
    vocabulary, text = bench.program.sources.vocabulary, ids.clone()
    for edit in edits:
        text[strengths(bench.program, edit, ids) != 0] = vocabulary.id_of(edit.change.says[0])
    before, after = (bench.run(rows, ("logits",))["logits"] for rows in (ids, text))
    return before, after - before, after - before


def _predict(bench: Workbench, edits: Sequence[EditAtWork], ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    starts = {(edit.layer, edit.kind == "OV"): start_of(edit) for edit in edits}
    heads = {f"L{edit.layer:02d}.pattern" for edit in edits if edit.kind == "OV"}
    names = [name for start in starts.values() for name in needed(bench.model, start)]
    before = bench.run(ids, tuple(dict.fromkeys((*names, *heads))))
    change = torch.zeros_like(before["logits"])
    bent = torch.zeros_like(change)
    for key, start in starts.items():
        own = [edit for edit in edits if (edit.layer, edit.kind == "OV") == key]
        patterns = [before[f"L{e.layer:02d}.pattern"][:, e.head] if e.kind == "OV" else None for e in own]
        write = torch.stack([written(bench, e, ids, p) for e, p in zip(own, patterns, strict=True)]).sum(0)
        change += carried(bench.model, before, start, write)
        bent += carried(bench.model, before, start, write, bent=True)
    return before["logits"], change, bent

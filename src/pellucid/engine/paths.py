"""Path patching: what one part says to another, with every other path held as it was (Wang et al., 2022, 2211.00593).

Three runs. The sender is patched in the base run, which tells what its layer then writes. That write goes up the stream
of a run in which every other head (and every MLP, unless paths lead through them) keeps writing what it wrote in the
base run, which tells what the receiver makes of it. Then the receiver alone is patched in the base run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.axes import BATCH, POS
from pellucid.base.errors import PellucidError
from pellucid.engine.intervene import Change, compile_edits, patch
from pellucid.engine.metrics import Metric, require_answers
from pellucid.engine.pairs import index_of, require_match
from pellucid.engine.shares import divides
from pellucid.engine.sites import embeddings, resolve
from pellucid.engine.subjects import Subject, Text, edits_of, model_of
from pellucid.exact.graph import Edit

_ATTENTION = (
    "q",
    "k",
    "v",
    "keys",
    "values",
    "scores",
    "pattern",
    "z",
    "head_writes",
    "attn_out",
    "q_in",
    "k_in",
    "v_in",
    "q_raw",
    "k_raw",
    "q_normed",
    "k_normed",
    "attn_sum",
)
_MLP = ("mlp_in", "LN2", "pre", "up", "post", "mlp_out", "mlp_sum", "neuron_writes")
_READERS = ("q", "k", "v", "values", "scores", "pattern", "pre", "up", "post")


@dataclass(frozen=True)
class PathEffect:
    """What the metric of each prompt is with one path patched, beside the two runs as they are."""

    sender: str
    """The part whose message was patched."""
    receiver: str
    """The part that heard it."""
    values: Float[Tensor, " prompt"] = field(repr=False)
    """The metric with the path patched, in its own unit."""
    base: Float[Tensor, " prompt"] = field(repr=False)
    """The metric of the base run."""
    source: Float[Tensor, " prompt"] = field(repr=False)
    """The metric of the source run."""

    def __repr__(self) -> str:
        (line,) = self.table
        share = "" if line["recovered"] is None else f", {100 * line['recovered']:.1f} % of the way to the source"
        return f"<PathEffect {self.sender} → {self.receiver}: {line['effect']:+.2f}{share}>"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line: the mean change, and the share of the way from base to source that it is (None: there is none)."""
        effect = float((self.values - self.base).mean())
        whole = float((self.source - self.base).mean())
        share = effect / whole if divides(whole, [effect]) else None
        return [{"sender": self.sender, "receiver": self.receiver, "effect": effect, "recovered": share}]


def path_patch(
    subject: Subject,
    base: Text,
    source: Text,
    metric: Metric,
    sender: str,
    receiver: str,
    *,
    through_mlps: bool = False,
    **selection: Any,
) -> PathEffect:
    """The metric of `base` when `receiver` hears from `sender` (at its selected positions) what it says in `source`.

    The sender is an embedding or anything inside a layer; the receiver is where a head looks (QK, or its `q` or `k`),
    its value (OV), a neuron, or `logits`, in a later layer (or the MLP of the same).

    Source: Goldowsky-Dill et al. (2023, arXiv 2304.05969).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        base: The prompts that are run.
        source: What the sender says instead, of the same lengths.
        metric: What is measured, a number a prompt, such as `logit_difference`.
        sender: An embedding, or anything inside a layer.
        receiver: Where a head looks (QK, or its `q` or `k`), its value (OV), a neuron, or `logits`, in a later layer,
            or the MLP of the same.
        through_mlps: Let the path lead through MLPs between the two.
        selection: Of the sender: `positions`.

    Returns:
        The metric with and without it, a number a prompt.

    Raises:
        PellucidError: Two names that no path joins, or prompts that do not fit each other; a prompt that the subject
            cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    model = model_of(subject)
    said, write = _sender(subject, sender)
    heard = [site.activation for site in resolve(model, _heard(receiver))]
    if _order(write) >= min(map(_order, heard)):
        raise PellucidError(f"no path leads from {sender} to {receiver}: the receiver reads before the sender writes")
    sides = [model.rows(text) for text in (base, source)]
    require_match(model, *sides)
    require_answers(metric, len(sides[0]))
    values = torch.empty(3, len(sides[0]))
    for group in sides[0].groups:
        ids, other = (group.cut(side.ids, (BATCH, POS)) for side in sides)
        path = _Path(sender, receiver, tuple(said), write, tuple(heard), through_mlps, selection)
        read = index_of(metric.position, ids.shape[1], "the metric's position")
        with torch.no_grad():
            for row, final in zip(values, path.finals(subject, ids, other), strict=True):
                row[group.rows.cpu()] = metric(model, final[:, read], group.rows.to(model.device)).float().cpu()
    return PathEffect(sender, receiver, *values)


@dataclass(frozen=True)
class _Path:
    """A path: what the sender says in which activations, the write they act in, and what the receiver makes of it."""

    sender: str
    receiver: str
    said: tuple[str, ...]
    write: str
    heard: tuple[str, ...]
    through_mlps: bool
    selection: Mapping[str, Any]

    def finals(self, subject: Subject, ids: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The final streams of prompts of one length: with the path patched, of the base run, of the source run."""
        model = model_of(subject)
        layers = range(model.decoder.layers)
        outs = [f"L{layer:02d}.attn_out" for layer in layers] + [f"L{layer:02d}.mlp_out" for layer in layers]
        own, others = edits_of(subject, ids), edits_of(subject, other)
        found = model.run(other, (*self.said, "final"), edits=others)
        plain = model.run(ids, ("final", *embeddings(model.decoder), *outs), edits=own)
        changes = [patch(self.sender, _Held({name: found[name] for name in self.said}), **self.selection)]
        wrote = model.run(ids, (self.write,), edits=compile_edits(model, changes, ids, own))[self.write]
        frozen = [n for n in outs if n != self.write and not (self.through_mlps and n.endswith("mlp_out"))]
        edits = _chained(own, {name: _always(plain[name]) for name in frozen} | {self.write: _always(wrote)})
        spoken = model.run(ids, tuple(dict.fromkeys(("final", *self.heard))), edits=edits)
        if self.heard in (("logits",), ("final",)):
            return spoken["final"], plain["final"], found["final"]
        change = _whole(self.receiver, spoken)
        final = model.run(ids, ("final",), edits=compile_edits(model, [change], ids, own))["final"]
        return final, plain["final"], found["final"]


@dataclass(frozen=True)
class _Held:
    activations: dict[str, Tensor]


def _sender(subject: Subject, sender: str) -> tuple[list[str], str]:
    """The activations to take from the source run, and the write of the layer in which they act."""
    sites = resolve(model_of(subject), sender)
    names = [site.activation for site in sites]
    writes = {_write(name) for name in names}
    if len(writes) != 1 or None in writes:
        raise PellucidError(f"{sender!r} cannot send: expected an embedding, or a part of one layer's heads or neurons")
    (write,) = writes
    assert write is not None
    return names, write


def _write(name: str) -> str | None:
    at, _, own = name.rpartition(".")
    if name.startswith("EMB."):
        return name
    return f"{at}.attn_out" if own in _ATTENTION else f"{at}.mlp_out" if own in _MLP else None


def _heard(receiver: str) -> str:
    """The name of what a receiver makes of what it reads."""
    if receiver.endswith(".OV"):
        # what it takes from, in its own copy where heads share their values
        return receiver.removesuffix(".OV").rpartition(".")[0] + ".values"
    if receiver in ("UNEMB", "LNF"):
        return "final"
    return receiver


def _whole(receiver: str, spoken: dict[str, Tensor]) -> Change:
    """The change that patches the receiver alone."""
    if receiver.endswith(".OV"):
        head = receiver.removesuffix(".OV").rpartition(".")[2]
        return patch(_heard(receiver), _Held(spoken), heads=int(head[1:]))
    return patch(receiver, _Held(spoken))


def _order(name: str) -> tuple[int, int]:
    """When an activation is read or written: its layer, and attention before MLP."""
    if name.startswith("EMB."):
        return (-1, 0)
    at, _, own = name.rpartition(".")
    if name in ("final", "logits"):
        return (1 << 30, 0)
    if own not in (*_READERS, "attn_out", "mlp_out"):
        raise PellucidError(f"{name} cannot receive; expected a head's QK, OV, q, k or v, a neuron, or logits")
    stage = {"attn_out": 1, "pre": 2, "up": 2, "post": 2, "mlp_out": 3}.get(own, 0)
    return int(at[1:]), stage


def _always(value: Tensor) -> Edit:
    return lambda _: value


def _chained(own: Mapping[str, Edit], more: dict[str, Edit]) -> dict[str, Edit]:
    """A program's edits, those of `more` in place of them where they meet."""
    return {**own, **more}

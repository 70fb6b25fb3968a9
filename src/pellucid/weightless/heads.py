"""Which heads a model needs: those whose output cannot be replaced by its mean."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.weightless.task import Judged
from pellucid.weightless.teacher import Read, answers, batches, edited, record, same

SPARED, HARDLY = 0.998, 0.99
"""A head is not needed (hardly needed) if at least this share of all (clear) answers stays the same without it."""

Head = tuple[int, int]


def needed(model: Model, read: Read, kind: Judged) -> tuple[list[Head], list[Head]]:
    """The heads that remain when one after the other is silenced, the least needed first, as long as answers stay.

    Whole layers are tried before heads: a program of fewer layers is shorter. First the heads that are hardly needed
    included, then without these.
    """
    layers = range(model.decoder.layers)
    heads = [(layer, head) for layer in layers for head in range(model.decoder.sizes.head)]
    z = record(model, read.ids, [f"L{layer:02d}.z" for layer in layers])
    means = {name: torch.from_numpy(value[read.inside].mean(0)) for name, value in z.items()}
    silent: set[Head] = set()
    for layer in reversed(layers):
        whole = {head for head in heads if head[0] == layer}
        if agreement(model, read, kind, means, silent | whole) >= SPARED:
            silent |= whole
    spared: list[Head] | None = None
    while len(silent) < len(heads):
        tries = [(agreement(model, read, kind, means, silent | {head}), head) for head in heads if head not in silent]
        best, head = max(tries)
        if best < SPARED and spared is None:
            spared = [head for head in heads if head not in silent]
        if best < HARDLY:
            break
        silent.add(head)
    left = [head for head in heads if head not in silent]
    return (left if spared is None else spared), left


def agreement(model: Model, read: Read, kind: Judged, means: dict[str, Tensor], silent: set[Head]) -> float:
    """The share of clear scored answers that stay the same while the heads `silent` give their mean."""
    edits = {f"L{layer:02d}.z": silence(means, silent, layer) for layer in {layer for layer, _ in silent}}
    said = np.concatenate([answers(edited(model, read.ids[part], edits), kind) for part in batches(read.ids)])
    counts = read.scored & read.clear
    return float(same(said, read.answer, kind)[counts].mean())


def silence(means: dict[str, Tensor], silent: set[Head], layer: int) -> Edit:
    """An edit that gives the heads of `layer` among `silent` their mean."""
    heads = [head for at, head in silent if at == layer]

    def edit(z: Tensor) -> Tensor:
        z = z.clone()
        z[:, :, heads] = means[f"L{layer:02d}.z"][heads].to(z)
        return z

    return edit


def without_positions(model: Model, read: Read, kind: Judged) -> float:
    """The share of (clear) answers that stay when positions are lost.

    Either every place is given the mean position embedding, or that of some random place behind the first: the mean is
    shorter than any embedding, which norms may notice where no position does.
    """
    used = model.position_table[: read.ids.shape[1]]
    draw = torch.Generator().manual_seed(0)

    def mean(value: Tensor) -> Tensor:
        return used.mean(0).expand_as(value)

    def other(value: Tensor) -> Tensor:
        places = torch.randint(1, len(used), value.shape[-2:-1], generator=draw)
        return used[places].expand_as(value).clone().index_copy(-2, torch.tensor([0]), value[..., :1, :])

    counts = read.scored & read.clear
    stay = []
    for change in (mean, other):
        said = [answers(edited(model, read.ids[part], {"EMB.POS": change}), kind) for part in batches(read.ids)]
        stay.append(float(same(np.concatenate(said), read.answer, kind)[counts].mean()))
    return max(stay)

"""The directions of the stream behind norms that predictions depend on most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.forms.channels import roots
from pellucid.measure.record import batches, record
from pellucid.stages.understand.kinds import varimax
from pellucid.stages.understand.plan import Plan

Rows = Int[Tensor, "row pos"]


@dataclass(frozen=True)
class Axes:
    """Directions that matter most: x ≈ mean + (x − mean) read write; along each, x has variance 1.

    `worth` is the Fisher information of predictions about each, in nats per token.
    """

    mean: Float[Tensor, " model"]
    read: Float[Tensor, "model direction"]
    write: Float[Tensor, "direction model"]
    worth: Float[Tensor, " direction"]


def shift(model: Model, norm: str) -> Float[Tensor, " model"]:
    """What a norm adds once it has divided."""
    return model.weights[f"h.{int(norm[1:3])}.ln_{norm[-1]}.bias"]


def found_axes(model: Model, rows: Rows, plan: Plan, seed: int) -> dict[str, Axes]:
    """The directions behind the norms in front of neurons, and in front of heads, that predictions depend on most.

    By the names of the norms.
    """
    layers = range(model.decoder.layers)
    counts = {f"L{layer:02d}.LN1": plan.late for layer in layers if layer}
    counts |= {f"L{layer:02d}.LN2": plan.values for layer in layers}
    readers = {name: _readers(model, name) for name in counts}
    width, names = model.decoder.sizes.model, list(counts)
    total = {name: torch.zeros(width, dtype=torch.float64) for name in names}
    outer, slopes = ({name: torch.zeros(width, width, dtype=torch.float64) for name in names} for _ in range(2))
    for batch in record(model, rows, names, gradients=names, seed=seed):
        for name in names:
            flat = batch.values[name].flatten(0, 1).double().cpu()
            total[name] += flat.sum(0)
            outer[name] += flat.T @ flat
            slope = batch.gradients[0][name].flatten(0, 1)
            slopes[name] += (slope.T @ slope).double().cpu()
    found = {}
    for name, count in counts.items():
        mean = total[name] / rows.numel()
        spread = outer[name] / rows.numel() - mean[:, None] * mean
        found[name] = most_felt(mean, spread, slopes[name] / rows.numel(), readers[name], count)
    return found


def _readers(model: Model, norm: str) -> Float[Tensor, "model reader"]:
    """What reads behind a norm: the columns of heads, or of neurons, each as long as what it writes."""
    own = model.layer(int(norm[1:3]))
    if norm.endswith("LN1"):
        return torch.cat([part.flatten(1) for part in (own.query, own.key, own.value)], 1)
    reads: Tensor = own.read * own.write.norm(dim=1)
    return reads


def most_felt(
    mean: Float64[Tensor, " model"],
    spread: Float64[Tensor, "model model"],
    slopes: Float64[Tensor, "model model"],
    into: Float[Tensor, "model reader"],
    count: int,
) -> Axes:
    """The `count` directions that matter most, given the covariance of what is read and of the gradients there.

    Leaving out a direction costs about half its variance times its Fisher information, which the gradients of sampled
    predictions give; the best directions are leading eigenvectors. They are turned by varimax, so that each
    of those that read `into` themselves reads few of them.
    """
    root, whiten = roots(spread)
    felt = root @ slopes @ root
    best = torch.linalg.eigh(felt).eigenvectors.flip(1)[:, :count]
    best = best @ varimax(into.double().cpu().T @ root @ best)
    worth = (felt @ best * best).sum(0)
    return Axes(*(piece.to(into) for piece in (mean, whiten @ best, best.T @ root, worth)))


@torch.no_grad()
def along(model: Model, rows: Rows, axes: dict[str, Axes]) -> dict[str, Float[Tensor, "row pos direction"]]:
    """How far the subject's own stream goes along the axes of each norm, everywhere in `rows`, but for its shift."""
    found: dict[str, list[Tensor]] = {name: [] for name in axes}
    for ids in batches(rows, model.n_vocab):
        seen = model.run(ids.to(model.device), list(axes))
        for name, each in axes.items():
            found[name].append((seen[name] - shift(model, name)) @ each.read)
    return {name: torch.cat(pieces) for name, pieces in found.items()}

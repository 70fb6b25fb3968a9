"""Where training begins: patterns fitted to the subject's, and values regressed on what its neurons read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.match.channels import roots
from pellucid.match.effect import causal
from pellucid.match.record import batches
from pellucid.match.understand.kinds import varimax
from pellucid.match.understand.plan import Plan
from pellucid.match.understand.student import Reading, Student, edits, features, reach

_RIDGE = 1e-4
_RATE = 1e-2
_BATCH_TOKENS = 1024
_SCALE_ROWS = 16
"""Rows that the mean scale of a norm is taken of."""
_LEAST = 1e-9
"""The least attention that a pattern is taken to pay, so that its logarithm is finite."""

Rows = Int[Tensor, "row pos"]


@dataclass(frozen=True)
class Axes:
    """Directions that are read most: x ≈ mean + (x − mean) read write; along each, x has variance 1."""

    mean: Float[Tensor, " model"]
    read: Float[Tensor, "model direction"]
    write: Float[Tensor, "direction model"]


def fit_patterns(student: Student, rows: Rows, steps: int) -> None:
    """Fit all heads at once by what they know of kinds: the KL from their own patterns on `rows`, by Adam."""
    model, layers = student.model, range(student.model.config.n_layer)
    later = ("values", "neurons", "bias", "late", "offers.late", "seeks.query.late", "seeks.key.late")
    names = [name for name in student.tensors if name.partition(".")[2] not in later]
    for name in names:
        student.tensors[name].requires_grad_()
    optimiser = torch.optim.Adam([student.tensors[name] for name in names], lr=_RATE)
    batch = max(1, _BATCH_TOKENS // rows.shape[1])
    for step in track(range(steps), "fitting patterns"):
        at = step * batch % max(1, len(rows) - batch + 1)
        ids = rows[at : at + batch].to(model.device)
        with torch.no_grad():
            own = model.run(ids, [f"L{layer:02d}.pattern" for layer in layers])
        reading, loss = Reading(student, ids), torch.zeros((), device=model.device)
        for layer in layers:
            said = causal(reading.scores(layer, by_kinds=True))
            loss = loss + pattern_kl(own[f"L{layer:02d}.pattern"], said) / len(layers)
        optimiser.param_groups[0]["lr"] = _RATE * 0.1 ** (step / steps)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    student.tensors = {name: tensor.detach() for name, tensor in student.tensors.items()}


def pattern_kl(
    own: Float[Tensor, "batch head query key"], said: Float[Tensor, "batch head query key"]
) -> Float[Tensor, ""]:
    """Mean over queries and heads of the KL of the patterns `said` from the heads' `own`, in nats."""
    divergence: Tensor = (torch.special.xlogy(own, own) - own * said.clamp(min=_LEAST).log()).sum(-1).mean()
    return divergence


def fit_values(student: Student, rows: Rows) -> None:
    """Let each layer's values be the best guesses of the directions that are read most, layer after layer.

    What neurons read are the values of their layer; late values are what heads of the next layer look and move by.
    """
    model = student.model
    axes = found_axes(model, rows, student.plan)
    wanted = along(model, rows, axes)
    for layer in track(range(model.config.n_layer), "fitting values"):
        at, after, block = f"L{layer:02d}", f"L{layer + 1:02d}.LN1", f"h.{layer}.mlp.c_fc"
        read = axes[f"{at}.LN2"]
        into = model.weights[f"{block}.weight"]
        student.tensors[f"{at}.values"] = guesses(student, rows, layer, f"{at}.LN2", read, wanted)
        student.tensors[f"{at}.neurons"] = read.write @ into
        student.tensors[f"{at}.bias"] = model.weights[f"{block}.bias"] + read.mean @ into
        if after in axes:
            student.tensors[f"{at}.late"] = guesses(student, rows, layer, after, axes[after], wanted)


@torch.no_grad()
def found_axes(model: Model, rows: Rows, plan: Plan) -> dict[str, Axes]:
    """The directions that neurons read most, each weighted by the length of what it writes, and those that heads do.

    By the name of the norm in front of them.
    """
    readers: dict[str, tuple[Tensor, int]] = {}
    for layer in range(model.config.n_layer):
        if layer:
            readers[f"L{layer:02d}.LN1"] = model.weights[f"h.{layer}.attn.c_attn.weight"], plan.late
        out = model.weights[f"h.{layer}.mlp.c_proj.weight"].norm(dim=1)
        readers[f"L{layer:02d}.LN2"] = model.weights[f"h.{layer}.mlp.c_fc.weight"] * out, plan.values
    width = model.config.n_embd
    total = {name: torch.zeros(width, dtype=torch.float64) for name in readers}
    outer = {name: torch.zeros(width, width, dtype=torch.float64) for name in readers}
    for ids in batches(rows, model.n_vocab):
        for name, x in model.run(ids.to(model.device), list(readers)).items():
            if name in readers:
                flat = x.flatten(0, 1).double().cpu()
                total[name] += flat.sum(0)
                outer[name] += flat.T @ flat
    found = {}
    for name, (into, count) in readers.items():
        mean = total[name] / rows.numel()
        found[name] = most_read(mean, outer[name] / rows.numel() - mean[:, None] * mean, into, count)
    return found


def most_read(
    mean: Float64[Tensor, " model"],
    spread: Float64[Tensor, "model model"],
    into: Float[Tensor, "model reader"],
    count: int,
) -> Axes:
    """The `count` directions that `into` reads most, given mean and covariance: reduced-rank regression.

    They are turned by varimax, so that each reader reads few of them.
    """
    root, whiten = roots(spread)
    read = into.double().cpu()
    best = torch.linalg.eigh(root @ read @ read.T @ root).eigenvectors.flip(1)[:, :count]
    best = best @ varimax(read.T @ root @ best)
    return Axes(*(piece.to(into) for piece in (mean, whiten @ best, best.T @ root)))


@torch.no_grad()
def along(model: Model, rows: Rows, axes: dict[str, Axes]) -> dict[str, Float[Tensor, "row pos direction"]]:
    """How far the subject's own stream goes along the axes of each norm, everywhere in `rows`."""
    found: dict[str, list[Tensor]] = {name: [] for name in axes}
    for ids in batches(rows, model.n_vocab):
        seen = model.run(ids.to(model.device), list(axes))
        for name, (mean, read) in ((name, (each.mean, each.read)) for name, each in axes.items()):
            found[name].append((seen[name] - mean) @ read)
    return {name: torch.cat(pieces) for name, pieces in found.items()}


@torch.no_grad()
def guesses(
    student: Student, rows: Rows, layer: int, norm: str, axes: Axes, wanted: dict[str, Tensor]
) -> Float[Tensor, "feature value"]:
    """How values of a layer sum their terms so as to guess what is `wanted` behind a norm, in the program so far.

    What neurons write along an axis stands in the weights, but for the norm's scale, whose mean is taken; the rest is
    guessed by ridge regression.
    """
    model, plan = student.model, student.plan
    fired = reach(layer) if norm.endswith("LN1") else reach(layer)[:-1]
    writes = [written(model, rows, n, norm) @ axes.read for n in fired]
    size, first = features(plan, model.config.n_head, layer), 0
    squares = torch.zeros(size, size, dtype=torch.float64)
    products = torch.zeros(size, axes.read.shape[1], dtype=torch.float64)
    for ids in batches(rows, model.n_vocab):
        reading = Reading(student, ids.to(model.device))
        student.engine.run(reading.ids, (f"L{layer:02d}.post",), edits=edits(reading, range(layer + 1)))
        left = wanted[norm][first : first + len(ids)]
        first += len(ids)
        for n, write in zip(fired, writes, strict=True):
            left = left - reading.fired[n] @ write
        terms = torch.cat(reading.terms(layer), -1).flatten(0, 1)
        squares += (terms.T @ terms).double().cpu()
        products += (terms.T @ left.flatten(0, 1)).double().cpu()
    squares.diagonal().add_(_RIDGE * squares.diagonal().mean())
    return torch.cat([torch.linalg.solve(squares, products).to(axes.read), *writes])


@torch.no_grad()
def written(model: Model, rows: Rows, layer: int, norm: str) -> Float[Tensor, "neuron model"]:
    """What each neuron of a layer writes, behind a `norm` whose scale is its mean over `rows`."""
    out, gain = model.weights[f"h.{layer}.mlp.c_proj.weight"], f"h.{int(norm[1:3])}.ln_{norm[-1]}.weight"
    before = f"{norm[:3]}.resid_{'pre' if norm.endswith('1') else 'mid'}"
    stream = model.run(rows[:_SCALE_ROWS].to(model.device), [before])[before]
    scale = stream.var(-1, unbiased=False).add(model.config.layer_norm_epsilon).sqrt().mean()
    return (out - out.mean(1, keepdim=True)) * model.weights[gain] / scale

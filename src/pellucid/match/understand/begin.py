"""Where training begins: patterns fitted to the subject's, and values regressed on what its neurons read."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.match.record import batches
from pellucid.match.understand.student import Reading, Student, edits

_RIDGE = 1e-4
_RATE = 1e-2
_BATCH_TOKENS = 1024

Rows = Int[Tensor, "row pos"]


def fit_patterns(student: Student, rows: Rows, steps: int) -> None:
    """Fit all heads at once: the KL from their own patterns on `rows`, by Adam."""
    model, layers = student.model, range(student.model.config.n_layer)
    names = [name for name in student.tensors if name.partition(".")[2] not in ("values", "neurons", "bias")]
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
            loss = loss + pattern_kl(own[f"L{layer:02d}.pattern"], reading.scores(layer)) / len(layers)
        optimiser.param_groups[0]["lr"] = _RATE * 0.1 ** (step / steps)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    student.tensors = {name: tensor.detach() for name, tensor in student.tensors.items()}


def pattern_kl(
    own: Float[Tensor, "batch head query key"], scores: Float[Tensor, "batch head query key"]
) -> Float[Tensor, ""]:
    """Mean over queries and heads of the KL of the patterns that `scores` make from the heads' own."""
    later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
    said = scores.masked_fill(later, -torch.inf).log_softmax(-1).masked_fill(later, 0)
    divergence: Tensor = (torch.special.xlogy(own, own) - own * said).sum(-1).mean()
    return divergence


def fit_values(student: Student, rows: Rows) -> None:
    """Let each layer's values be the best guesses of the directions that its neurons read most, layer after layer.

    The directions are those of `reads`; the guesses are ridge regressions on what a value may sum, in the program as it
    is then: later layers see what earlier sources make of the text.
    """
    model = student.model
    directions = reads(model, rows, student.plan.values)
    for layer in track(range(model.config.n_layer), "fitting values"):
        at, (mean, read, write) = f"L{layer:02d}", directions[layer]
        size = len(student.tensors[f"{at}.values"])
        squares = torch.zeros(size, size, dtype=torch.float64)
        products = torch.zeros(size, read.shape[1], dtype=torch.float64)
        for ids in batches(rows, model.n_vocab):
            own = model.run(ids.to(model.device), [f"{at}.LN2"])[f"{at}.LN2"]
            terms = terms_of(student, ids.to(model.device), layer)
            squares += (terms.T @ terms).double().cpu()
            products += (terms.T @ ((own - mean) @ read).flatten(0, 1)).double().cpu()
        squares += _RIDGE * squares.diagonal().mean() * torch.eye(size)
        solved = torch.linalg.solve(squares, products)
        block = f"h.{layer}.mlp.c_fc"
        student.tensors[f"{at}.values"] = solved.to(student.tensors[f"{at}.values"])
        student.tensors[f"{at}.neurons"] = write @ model.weights[f"{block}.weight"]
        student.tensors[f"{at}.bias"] = model.weights[f"{block}.bias"] + mean @ model.weights[f"{block}.weight"]


@torch.no_grad()
def terms_of(student: Student, ids: Int[Tensor, "batch pos"], layer: int) -> Float[Tensor, "place feature"]:
    """All that a value of `layer` may sum, at every place of `ids`."""
    reading = Reading(student, ids)
    given = edits(reading, range(layer + 1))
    del given[f"L{layer:02d}.pre"]
    student.model.run(ids, (f"L{layer:02d}.attn_out",), edits=given)
    return reading.terms(layer).flatten(0, 1)


@torch.no_grad()
def reads(
    model: Model, rows: Rows, count: int
) -> list[tuple[Float[Tensor, " model"], Float[Tensor, "model direction"], Float[Tensor, "direction model"]]]:
    """For each layer the mean of what its neurons read, and `count` directions such that x ≈ mean + (x − mean) R W.

    Reduced-rank regression of all pre-activations, each weighted by the length of what its neuron writes.
    """
    layers = range(model.config.n_layer)
    names = [f"L{layer:02d}.LN2" for layer in layers]
    sums: list[Float64[Tensor, ...]] = [torch.zeros(model.config.n_embd, dtype=torch.float64) for _ in layers]
    outer = [torch.zeros(model.config.n_embd, model.config.n_embd, dtype=torch.float64) for _ in layers]
    for ids in batches(rows, model.n_vocab):
        seen = model.run(ids.to(model.device), names)
        for layer, name in enumerate(names):
            x = seen[name].flatten(0, 1).double().cpu()
            sums[layer] += x.sum(0)
            outer[layer] += x.T @ x
    found = []
    for layer in layers:
        mean = sums[layer] / rows.numel()
        spread = outer[layer] / rows.numel() - mean[:, None] * mean
        into = model.weights[f"h.{layer}.mlp.c_fc.weight"].double().cpu()
        out = model.weights[f"h.{layer}.mlp.c_proj.weight"].double().cpu().norm(dim=1)
        values, axes = torch.linalg.eigh(spread)
        flat = values <= 1e-6 * values.max()
        lengths = values.clamp(min=0).sqrt().masked_fill(flat, 0.0)
        root = (axes * lengths) @ axes.T
        whiten = (axes * torch.where(flat, 0.0, 1 / lengths.masked_fill(flat, 1.0))) @ axes.T
        best = torch.linalg.eigh(root @ (into * out) @ (into * out).T @ root).eigenvectors.flip(1)[:, :count]
        pieces = (mean, whiten @ best, best.T @ root)
        found.append(tuple(piece.to(model.device, model.dtype) for piece in pieces))
    return found  # type: ignore[return-value]

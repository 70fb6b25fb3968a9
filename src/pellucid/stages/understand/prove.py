"""Evidence about a printed student: every head and neuron on the subject's own activations, on held-out text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.progress import track
from pellucid.family.activations import activation
from pellucid.forms.isolated import pearson
from pellucid.forms.outputs import causal
from pellucid.forms.worst_places import context, worst_places
from pellucid.measure.record import Recording, batches, record
from pellucid.stages.understand.student import Student, StudentReading

STREAM = ("resid_pre", "resid_mid")
"""Where the scales of norms are taken of."""

Rows = Int[Tensor, "row pos"]


@dataclass(frozen=True)
class SourceProof:
    """By address: the isolated score, and what the source alone costs in nats per token (second order)."""

    scores: dict[Address, float]
    costs: dict[Address, float]


@dataclass
class _Sums:
    """What is summed over held-out text for one layer."""

    moments: Float64[Tensor, "5 neuron"]
    neuron_squares: Float64[Tensor, " neuron"]
    head_squares: Float64[Tensor, " head"]
    left: Float64[Tensor, " head"]
    whole: Float64[Tensor, " head"]


def prove(student: Student, rows: Rows, seed: int = 0) -> SourceProof:
    """Score every head and neuron of `student` on `rows`.

    A neuron's score is the correlation of the pre-activations, a head's the share of the total variation between its
    pattern and the uniform one that the source removes. Costs are second-order estimates (see `forms/effect.py`); what
    heads see is taken from the subject's own patterns, since each part is judged alone.
    """
    model, layers = student.model, range(student.model.decoder.layers)
    names = [f"L{layer:02d}.{name}" for layer in layers for name in (*STREAM, "pattern", "pre", "post")]
    slopes = [name for name in names if name.endswith((".pattern", ".post"))]
    sums = [_zeros(student) for _ in layers]
    total = sum(1 for _ in batches(rows, model.n_vocab))
    for batch in track(record(model, rows, names, gradients=slopes, seed=seed), "proving", total):
        with torch.no_grad():
            reading = StudentReading(student, batch.ids)
            for layer in layers:
                _add(sums[layer], reading, batch, layer)
    scale = 2 * rows.numel()
    scores: dict[Address, float] = {}
    costs: dict[Address, float] = {}
    for layer, found in enumerate(sums):
        for kind, score, cost in (
            ("IN", pearson(found.moments, rows.numel()), found.neuron_squares),
            ("QK", 1 - found.left / found.whole.clamp(min=1e-30), found.head_squares),
        ):
            for n, (value, paid) in enumerate(zip(score.tolist(), (cost / scale).tolist(), strict=True)):
                address = Address(kind, layer, n)  # type: ignore[arg-type]
                scores[address], costs[address] = value, paid
    return SourceProof(scores, costs)


def _zeros(student: Student) -> _Sums:
    sizes = student.model.decoder.sizes
    neurons, heads = (torch.zeros(n, dtype=torch.float64) for n in (sizes.neuron, sizes.head))
    return _Sums(torch.zeros(5, sizes.neuron, dtype=torch.float64), neurons, heads, heads.clone(), heads.clone())


def _add(sums: _Sums, reading: StudentReading, batch: Recording, layer: int) -> None:
    """Add what a batch says about a layer."""
    at, (slopes,) = f"L{layer:02d}", batch.gradients
    own = batch.values[f"{at}.pattern"]
    _scale(reading, batch, layer)
    said = causal(reading.scores(layer))
    uniform = causal(torch.zeros_like(said))
    reading.saw(layer, own)
    pre = reading.pre(layer)
    reading.fire(layer, batch.values[f"{at}.post"])
    post = activation(reading.student.model.decoder.activation).torch(pre)
    a, b = (x.flatten(0, 1).double().cpu() for x in (batch.values[f"{at}.pre"], pre))
    sums.moments += torch.stack([x.sum(0) for x in (a, b, a * a, b * b, a * b)])
    changed = ((post - batch.values[f"{at}.post"]) * slopes[f"{at}.post"]).sum(1)
    sums.neuron_squares += changed.double().square().sum(0).cpu()
    looked = ((said - own) * slopes[f"{at}.pattern"]).sum((2, 3))
    sums.head_squares += looked.double().square().sum(0).cpu()
    sums.left += (said - own).abs().sum((0, 2, 3)).double().cpu()
    sums.whole += (uniform - own).abs().sum((0, 2, 3)).double().cpu()


def _scale(reading: StudentReading, batch: Recording, layer: int) -> None:
    """Note what the norms of a layer divide by."""
    for which, name in enumerate(STREAM, start=1):
        reading.scale(f"L{layer:02d}.LN{which}", batch.values[f"L{layer:02d}.{name}"])


@torch.no_grad()
def worst_contexts(student: Student, rows: Rows, chosen: Collection[Address]) -> dict[Address, list[dict[str, Any]]]:
    """The places of `rows` where each of the `chosen` parts and its source differ most, as reports show them.

    The tokens marked are those that a head itself looks at; of a neuron, the place itself.
    """
    model, found = student.model, dict[Address, list[dict[str, Any]]]()
    for layer in range(model.decoder.layers):
        at, pres, saids, heads = f"L{layer:02d}", [], [], []
        own_names = [f"L{n:02d}.{name}" for n in range(layer + 1) for name in (*STREAM, "pattern", "post")]
        for batch in record(model, rows, [*own_names, f"{at}.pre"]):
            reading = StudentReading(student, batch.ids)
            for n in range(layer + 1):
                _scale(reading, batch, n)
                reading.saw(n, batch.values[f"L{n:02d}.pattern"])
                reading.fire(n, batch.values[f"L{n:02d}.post"])
            pres.append(batch.values[f"{at}.pre"])
            saids.append(reading.pre(layer))
            heads.append((batch.values[f"{at}.pattern"] - causal(reading.scores(layer))).abs().sum(-1) / 2)
        own, said = torch.cat(pres), torch.cat(saids)
        worst = worst_places((own - said).abs(), rows)
        for neuron in range(own.shape[2]):
            if (address := Address("IN", layer, neuron)) in chosen:
                found[address] = [
                    context(model, rows[row], p, _here(p), float(own[row, p, neuron]), float(said[row, p, neuron]))
                    for row, p in worst[neuron]
                ]
        found |= _worst_heads(student, layer, rows, torch.cat(heads), chosen)
    return found


def _here(place: int) -> list[float]:
    return [0.0] * place + [1.0]


def _worst_heads(
    student: Student, layer: int, rows: Rows, variation: Float[Tensor, "row head query"], chosen: Collection[Address]
) -> dict[Address, list[dict[str, Any]]]:
    """The worst places of the heads of a layer."""
    found: dict[Address, list[dict[str, Any]]] = {}
    for head, worst in enumerate(worst_places(variation.transpose(1, 2), rows)):
        address = Address("QK", layer, head)
        if address not in chosen:
            continue
        found[address] = []
        for row, place in worst:
            name = f"L{layer:02d}.pattern"
            looked = student.model.run(rows[row : row + 1], [name])[name][0, head, place]
            entry = context(
                student.model, rows[row], place, looked.tolist(), 1.0, 1 - float(variation[row, head, place])
            )
            found[address].append(entry)
    return found

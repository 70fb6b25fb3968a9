"""Scores of sources on the subject's own activations: overlap of patterns for heads, correlation for neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model, causal_mask
from pellucid.exact.ops import pattern
from pellucid.match.forms import Fires, Looks, Tables
from pellucid.match.record import record


def scores(model: Model, forms: Mapping[Address, Looks | Fires], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """For a head the mean overlap of its source's pattern with its own, 1 − total variation; for a neuron the
    correlation of its source's pre-activations with its own (0 for a constant), over all positions of `rows`.
    """
    found: dict[Address, float] = {}
    for layer in sorted({address.layer for address in forms}):
        looks = [form for form in forms.values() if isinstance(form, Looks) and form.address.layer == layer]
        fires = [form for form in forms.values() if isinstance(form, Fires) and form.address.layer == layer]
        found |= _overlaps(model, layer, looks, rows)
        found |= _correlations(model, layer, fires, rows)
    return found


def _overlaps(model: Model, layer: int, looks: Sequence[Looks], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    totals = [0.0] * len(looks)
    name = f"L{layer:02d}.pattern"
    mask = causal_mask(rows.shape[1], rows.shape[1], model.dtype, model.device)
    for batch in record(model, rows, [name]) if looks else ():
        own = batch.values[name]
        for n, form in enumerate(looks):
            said = pattern(form.twin(batch.ids)[:, None], mask)[:, 0]
            totals[n] += float((1 - (said - own[:, form.address.index]).abs().sum(-1) / 2).sum())
    return {form.address: total / rows.numel() for form, total in zip(looks, totals, strict=True)}


def _correlations(
    model: Model, layer: int, fires: Sequence[Fires], rows: Int[Tensor, "row pos"]
) -> dict[Address, float]:
    if not fires:
        return {}
    name = f"L{layer:02d}.pre"
    neurons = torch.tensor([form.address.index for form in fires])
    tables = Tables.of(fires, model.n_vocab, model.device)
    sums = torch.zeros(5, len(fires), dtype=torch.float64)
    for batch in record(model, rows, [name]):
        own, said = (x.flatten(0, 1).double() for x in (batch.values[name][..., neurons], tables(batch.ids)))
        sums += torch.stack([x.sum(0) for x in (own, said, own * own, said * said, own * said)])
    return dict(zip((form.address for form in fires), _pearson(sums, rows.numel()).tolist(), strict=True))


def _pearson(sums: Float64[Tensor, "5 neuron"], n: int) -> Float64[Tensor, " neuron"]:
    """Correlations from Σa, Σb, Σa², Σb², Σab; 0 where one side does not vary."""
    a, b, aa, bb, ab = sums / n
    spread = ((aa - a * a).clamp(min=0) * (bb - b * b).clamp(min=0)).sqrt()
    return torch.where(spread > 1e-12, (ab - a * b) / spread.clamp(min=1e-12), 0.0)

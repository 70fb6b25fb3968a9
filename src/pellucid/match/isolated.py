"""Scores of parts on the subject's own activations: 0 is what the mean in a part's place scores, 1 is perfect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.match.effect import look
from pellucid.match.forms import Fires, Looks, Tables
from pellucid.match.record import record
from pellucid.match.stored import Lifted


def scores(model: Model, forms: Mapping[Address, Looks | Fires], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """For a neuron the correlation of its source's pre-activations with its own, over all positions of `rows`.

    For a head the share that its source removes of the total variation between its own pattern and the uniform one.
    """
    found: dict[Address, float] = {}
    for layer in sorted({address.layer for address in forms}):
        looks = [form for form in forms.values() if isinstance(form, Looks) and form.address.layer == layer]
        fires = [form for form in forms.values() if isinstance(form, Fires) and form.address.layer == layer]
        found |= _closeness(model, layer, looks, rows)
        found |= _correlations(model, layer, fires, rows)
    return found


def kept(model: Model, forms: Sequence[Lifted], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """The share of the variance of each lifted head's write that its form keeps, over all positions of `rows`.

    0 is what its mean keeps, and a head that never varies.
    """
    left, whole = dict.fromkeys(forms, 0.0), dict.fromkeys(forms, 0.0)
    names = sorted({f"L{form.address.layer:02d}.z" for form in forms})
    for batch in record(model, rows, names) if forms else ():
        for form in forms:
            z = batch.values[f"L{form.address.layer:02d}.z"][:, :, form.address.index]
            out = head_out(model, form.address)
            left[form] += float(((form.twin(z) - z) @ out).double().square().sum())
            whole[form] += float(((z - form.mean) @ out).double().square().sum())
    return {form.address: 1 - left[form] / whole[form] if whole[form] else 0.0 for form in forms}


def head_out(model: Model, address: Address) -> Float[Tensor, "dim model"]:
    """The rows through which a head writes."""
    size = model.config.d_head
    rows = slice(address.index * size, (address.index + 1) * size)
    return model.weights[f"h.{address.layer}.attn.c_proj.weight"][rows]


def _closeness(model: Model, layer: int, looks: Sequence[Looks], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    left, whole = [0.0] * len(looks), [0.0] * len(looks)
    name = f"L{layer:02d}.pattern"
    for batch in record(model, rows, [name]) if looks else ():
        for n, form in enumerate(looks):
            own = batch.values[name][:, form.address.index]
            left[n] += float((look(form, batch.ids) - own).abs().sum())
            whole[n] += float((look(Looks(form.address), batch.ids) - own).abs().sum())
    return {form.address: 1 - left[n] / whole[n] if whole[n] else 0.0 for n, form in enumerate(looks)}


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

"""Scores of parts on the subject's own activations: 0 is what the mean in a part's place scores, 1 is perfect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.effect import look
from pellucid.forms.forms import Fires, Looks, Tables
from pellucid.forms.stored import Channel, Compares, Lifted, stacked
from pellucid.measure.record import Recording, record


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


def kept(
    model: Model, forms: Sequence[Lifted | Channel | Compares], rows: Int[Tensor, "row pos"]
) -> dict[Address, float]:
    """The share of variance that each lifted form keeps of what its part computes, over all positions of `rows`.

    Of a head's write (OV), of a neuron's pre-activation (IN), and of a head's scores around their mean over the keys
    as it sees them (QK). 0 is what the mean keeps, and a part that never varies.
    """
    neurons = [form for form in forms if isinstance(form, Channel)]
    layers = sorted({form.address.layer for form in neurons})
    channels = [_Channels([form for form in neurons if form.address.layer == layer]) for layer in layers]
    heads = [form for form in forms if not isinstance(form, Channel)]
    sums = {form.address: [0.0, 0.0] for form in heads}
    names = {name for form in heads for name in _asked(form)} | {name for of in channels for name in of.names}
    for batch in record(model, rows, sorted(names)) if forms else ():
        for of_layer in channels:
            of_layer.add(batch)
        for form in heads:
            error, own = _write(model, form, batch) if isinstance(form, Lifted) else _scores(model, form, batch)
            for n, part in enumerate((error, own)):
                sums[form.address][n] += float(part)
    found = {address: 1 - left / whole if whole else 0.0 for address, (left, whole) in sums.items()}
    return found | {address: share for of_layer in channels for address, share in of_layer.shares().items()}


def _asked(form: Lifted | Compares) -> list[str]:
    """The activations that are compared."""
    at = f"L{form.address.layer:02d}"
    return [f"{at}.z"] if isinstance(form, Lifted) else [f"{at}.{name}" for name in ("LN1", "scores", "pattern")]


def _write(model: Model, form: Lifted, batch: Recording) -> tuple[Tensor, Tensor]:
    """Σ |said − own|² and Σ |own − mean|² of a head's write."""
    z = batch.values[f"L{form.address.layer:02d}.z"][:, :, form.address.index]
    out = head_out(model, form.address)
    left, whole = (form.twin(z) - z) @ out, (z - form.mean) @ out
    return left.double().square().sum(), whole.double().square().sum()


def _scores(model: Model, form: Compares, batch: Recording) -> tuple[Tensor, Tensor]:
    """The same of a head's scores, less their mean over keys; a key counts as much as the head sees of it."""
    at = f"L{form.address.layer:02d}"
    own, weight = (batch.values[f"{at}.{name}"][:, form.address.index] for name in ("scores", "pattern"))
    said = form.twin(batch.values[f"{at}.LN1"], model.decoder.blocks[form.address.layer].attention.scale)
    left, whole = (
        (weight * (x - (weight * x).sum(-1, keepdim=True)).square()).double().sum() for x in (said - own, own)
    )
    return left, whole


class _Channels:
    """Sums over text about neurons of a layer that read channels."""

    def __init__(self, forms: Sequence[Channel]) -> None:
        at = f"L{forms[0].address.layer:02d}"
        self.names = [f"{at}.LN2", f"{at}.pre"]
        self.addresses, self.vectors = [form.address for form in forms], stacked(forms)
        self.sums, self.count = torch.zeros(3, len(forms), dtype=torch.float64), 0

    def add(self, batch: Recording) -> None:
        """Take in a batch."""
        x, pre = (batch.values[name].flatten(0, 1) for name in self.names)
        read, write, bias = self.vectors
        own = pre[:, [address.index for address in self.addresses]].double()
        left = (x @ read) @ write + bias - own
        self.sums += torch.stack([left.square().sum(0), own.sum(0), own.square().sum(0)])
        self.count += len(x)

    def shares(self) -> dict[Address, float]:
        """1 − Σ |said − own|² / Σ |own − mean|² of each neuron."""
        left, total, square = self.sums
        whole = square - total.square() / max(1, self.count)
        found = torch.where(whole > 1e-12 * square, 1 - left / whole.clamp(min=1e-30), 0.0)
        return dict(zip(self.addresses, found.tolist(), strict=True))


def head_out(model: Model, address: Address) -> Float[Tensor, "dim model"]:
    """The rows through which a head writes."""
    return model.layer(address.layer).out[address.index]


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
    return dict(zip((form.address for form in fires), pearson(sums, rows.numel()).tolist(), strict=True))


def pearson(sums: Float64[Tensor, "5 neuron"], n: int) -> Float64[Tensor, " neuron"]:
    """Correlations from Σa, Σb, Σa², Σb², Σab; 0 where one side does not vary."""
    a, b, aa, bb, ab = sums / n
    spread = ((aa - a * a).clamp(min=0) * (bb - b * b).clamp(min=0)).sqrt()
    return torch.where(spread > 1e-12, (ab - a * b) / spread.clamp(min=1e-12), 0.0)

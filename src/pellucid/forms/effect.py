"""What replacing a part costs: a second-order estimate for all parts at once, and exact ablations to calibrate it.

Let a part's output x_t at the positions t of a row become x_t + δ_t. To second order the KL between the model's
distributions over the row's next tokens grows by ½ δᵀFδ, F being the Fisher information of x: the covariance of
g = ∇_x Σ_T log p(y_T) when every y_T is drawn from the model's own prediction at T. Draws at different positions are
independent and each has a mean gradient of zero, so cross terms vanish and

    KL of a row ≈ ½ E[(Σ_t g_t · δ_t)²].

One backward pass gives g for every part. A head's output is its pattern (after the softmax) where it looks, and what it
mixes by it (z) where it moves; a neuron's is its post-activation, when it fires and what it writes alike. All figures
are nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.family import seams
from pellucid.forms.form import Form, Together, Written, grouped
from pellucid.forms.forms import Fires, Looks
from pellucid.forms.outputs import output_of
from pellucid.measure.correlation import pearson, spearman
from pellucid.measure.distance import divergence
from pellucid.measure.record import Recording, batches, compared_places, logits_at, record

HEADS = 0.25
"""The share of a calibration's parts that may be heads."""


def mean_forms(model: Model, means: Mapping[str, Tensor]) -> dict[Address, Written]:
    """Mean ablation of every QK and IN: uniform patterns, and mean pre-activations from `means["L00.IN"]`, [neuron].

    Of gated neurons, mean activations.
    """
    forms: dict[Address, Written] = {}
    for address in model.decoder.addresses.addresses():
        if address.kind == "QK":
            forms[address] = Looks(address)
        elif address.kind == "IN":
            forms[address] = Fires(address, float(means[f"L{address.layer:02d}.IN"][address.index]))
    return forms


def effect_share(effects: Mapping[Address, float]) -> dict[Address, float]:
    """Each part's share of the summed effects; all zero where nothing has an effect."""
    total = math.fsum(effects.values())
    return {address: effect / total if total > 0 else 0.0 for address, effect in effects.items()}


# --- the estimate -----------------------------------------------------------------------------------------------------


def estimate(
    model: Model,
    rows: Int[Tensor, "row pos"],
    *variants: Iterable[Form],
    draws: int = 1,
    seed: int = 0,
) -> list[dict[Address, float]]:
    """For each of `variants`, what every single one of its forms would cost alone, in nats per token.

    More `draws` of next tokens make it less noisy; each costs a backward pass for all parts and variants together.
    """
    if not len(rows):
        raise ValueError("an effect is estimated on at least one row of tokens")
    replaced = [grouped(model, variant) for variant in variants]
    felt = sorted({group.felt for variant in replaced for group in variant})
    names = sorted({*felt, *(name for variant in replaced for group in variant for name in group.reads)})
    if not names:
        return [{} for _ in variants]
    sums = [[torch.zeros(len(group.forms), dtype=torch.float64) for group in variant] for variant in replaced]
    for batch in record(model, rows, names, gradients=felt, draws=draws, seed=seed):
        for variant, totals in zip(replaced, sums, strict=True):
            for group, total in zip(variant, totals, strict=True):
                total += _squares(group, batch)
    scale = 2 * draws * rows.numel()
    return [
        {
            address: float(value) / scale
            for group, total in zip(variant, totals, strict=True)
            for address, value in zip(group.addresses, total, strict=True)
        }
        for variant, totals in zip(replaced, sums, strict=True)
    ]


def _squares(group: Together[Any], batch: Recording) -> Float64[Tensor, " form"]:
    """Σ over draws and rows of (Σ_t g_t · δ_t)², for every form of a group."""
    found: list[Tensor] = []
    for where, value in group.pieces(group.seen(batch.ids, batch.values)):
        own = batch.values[group.felt][where]
        delta = group.output.feel(value, group.model, group.layer).to(own) - own
        slopes = [(draw[group.felt][where] * delta).sum(group.inner) for draw in batch.gradients]
        found.append(torch.stack(slopes).double().square().sum((0, 1)).reshape(-1))
    return torch.cat(found)


# --- exact ablations --------------------------------------------------------------------------------------------------


def exact(model: Model, rows: Int[Tensor, "row pos"], forms: Iterable[Form]) -> dict[Address, float]:
    """What replacing each form's part alone costs: mean KL(model ‖ replaced) in nats per token.

    Only what follows the part is run again. Of a large vocabulary, a sample of places is compared.
    """
    chosen, compared = list(forms), 0
    totals = dict.fromkeys([form.address for form in chosen], 0.0)
    with torch.no_grad():
        for number, ids in enumerate(batches(rows, model.n_vocab)):
            at = compared_places(model, ids, number)
            compared += len(at)
            names = sorted({name for form in chosen for name in _restart(model, form)})
            clean = model.run(ids, (*names, "final"))
            own = logits_at(model, clean["final"], at)[None]
            for form in chosen:
                given = {name: clean[name] for name in _restart(model, form)}
                final = model.run(ids, ("final",), given=_replaced(model, form, ids, given))["final"]
                totals[form.address] += divergence(own, logits_at(model, final, at)[None])
    return {address: total / compared for address, total in totals.items()}


def _restart(model: Model, form: Form) -> tuple[str, ...]:
    """The activations from which the rest of a forward pass follows, the replaced one last."""
    output, at = output_of(model.decoder, form.address), seams.at(form.address.layer)
    reads = [name for name in form.reads if name != output.name]
    return tuple(at.named(name) for name in (*output.restart, *reads, output.name))


def _replaced(
    model: Model, form: Form, ids: Int[Tensor, "batch pos"], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`given` with the output of the form's part replaced."""
    (group,) = grouped(model, [form])
    return {**given, group.name: group.put(given[group.name], group.seen(ids, given))}


# --- calibration ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """How estimates compare with exact ablations of the same parts on the same rows.

    `pearson` is between the logarithms, `spearman` between the ranks; exact ≈ `scale` · estimate. All are None where
    fewer than three parts have an effect, correlations also where all are alike.
    """

    pearson: float | None
    spearman: float | None
    scale: float | None
    n: int
    pairs: tuple[tuple[Address, float, float], ...]


def calibrate(
    model: Model,
    rows: Int[Tensor, "row pos"],
    forms: Iterable[Form],
    count: int = 200,
    draws: int = 8,
    seed: int = 0,
) -> Calibration:
    """Compare the estimate with exact single-part ablations for `count` of `forms`, taken evenly by estimate."""
    by_address = {form.address: form for form in forms}
    estimates = estimate(model, rows, by_address.values(), draws=draws, seed=seed)[0]
    chosen = stratified(estimates, count, seed)
    measured = exact(model, rows, [by_address[address] for address in chosen])
    return compare([(address, estimates[address], measured[address]) for address in chosen])


def compare(pairs: Sequence[tuple[Address, float, float]]) -> Calibration:
    """The calibration that (part, estimate, exact) triples give; those without any effect say nothing about it."""
    kept = [(address, guess, true) for address, guess, true in pairs if guess > 0 and true > 0]
    if len(kept) < 3:
        return Calibration(None, None, None, len(kept), tuple(kept))
    guesses, truths = torch.tensor([pair[1:] for pair in kept], dtype=torch.float64).log().T
    scale = float((truths - guesses).mean().exp())
    return Calibration(pearson(guesses, truths), spearman(guesses, truths), scale, len(kept), tuple(kept))


def stratified(estimates: Mapping[Address, float], count: int, seed: int = 0) -> list[Address]:
    """`count` parts, at most a quarter of them heads, one from each of as many equal strata by estimate."""
    kinds = [[a for a in estimates if (a.kind == "QK") == heads and estimates[a] > 0] for heads in (True, False)]
    heads, neurons = (sorted(kind, key=lambda address: (estimates[address], address)) for kind in kinds)
    most = min(len(heads), max(int(HEADS * count), count - len(neurons)))
    generator = torch.Generator().manual_seed(seed)
    return [*_spread(heads, most, generator), *_spread(neurons, min(len(neurons), count - most), generator)]


def _spread(ordered: Sequence[Address], count: int, generator: torch.Generator) -> Iterator[Address]:
    """One at random from each of `count` runs of equal length."""
    for stratum in range(count):
        first, last = stratum * len(ordered) // count, (stratum + 1) * len(ordered) // count
        yield ordered[first + int(torch.randint(last - first, (1,), generator=generator))]

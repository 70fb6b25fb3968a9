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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.exact.ops import ACTIVATION
from pellucid.forms.forms import Fires, Looks, Tables
from pellucid.forms.stored import Channel, Compares, Lifted, Still, Stored, stacked
from pellucid.measure.correlation import pearson, spearman
from pellucid.measure.distance import divergence
from pellucid.measure.record import Recording, batches, compared_places, logits_at, record

Form = Looks | Fires | Stored
HEADS = 0.25
"""The share of a calibration's parts that may be heads."""


def mean_forms(model: Model, means: Mapping[str, Tensor]) -> dict[Address, Looks | Fires]:
    """Mean ablation of every QK and IN: uniform patterns, and mean pre-activations from `means["L00.IN"]`, [neuron]."""
    forms: dict[Address, Looks | Fires] = {}
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
    replaced = [_by_layer(model, variant) for variant in variants]
    names = sorted({name for variant in replaced for layer in variant for name in layer.names})
    if not names:
        return [{} for _ in variants]
    sums = [[torch.zeros(len(layer), dtype=torch.float64) for layer in variant] for variant in replaced]
    for batch in record(model, rows, names, gradients=names, draws=draws, seed=seed):
        for variant, totals in zip(replaced, sums, strict=True):
            for layer, total in zip(variant, totals, strict=True):
                total += layer.squares(batch)
    scale = 2 * draws * rows.numel()
    return [
        {
            address: float(value) / scale
            for layer, total in zip(variant, totals, strict=True)
            for address, value in zip(layer.addresses, total, strict=True)
        }
        for variant, totals in zip(replaced, sums, strict=True)
    ]


@dataclass(frozen=True)
class _Layer:
    """The replacements in one layer."""

    layer: int
    activation: str
    looks: tuple[Looks, ...]
    fires: tuple[Fires, ...]
    tables: Tables
    lifted: tuple[Lifted, ...]
    still: tuple[Still, ...]
    compares: tuple[Compares, ...]
    channels: tuple[Channel, ...]
    scale: float

    def __len__(self) -> int:
        return len(self.addresses)

    @property
    def addresses(self) -> list[Address]:
        forms: tuple[Form, ...] = (
            *self.looks, *self.fires, *self.lifted, *self.still, *self.compares, *self.channels,
        )  # fmt: skip
        return [form.address for form in forms]

    @property
    def names(self) -> list[str]:
        """The activations that the estimate reads."""
        posts: tuple[Form, ...] = (*self.fires, *self.still, *self.channels)
        wanted: dict[str, tuple[Form, ...]] = {"pattern": (*self.looks, *self.compares), "post": posts}
        wanted |= {"z": self.lifted, "LN1": self.compares, "LN2": self.channels}
        return [f"L{self.layer:02d}.{name}" for name, forms in wanted.items() if forms]

    def squares(self, batch: Recording) -> Float64[Tensor, " form"]:
        """Σ over draws and rows of (Σ_t g_t · δ_t)², for every form."""
        parts: list[Tensor] = []
        for form in self.looks:
            parts.append(self._head(batch, "pattern", (slice(None), form.address.index), _put(look(form, batch.ids))))
        if self.fires:
            parts.append(self._neurons(batch, self.fires, ACTIVATION[self.activation](self.tables(batch.ids))))
        for lifted in self.lifted:
            parts.append(self._head(batch, "z", (slice(None), slice(None), lifted.address.index), lifted.twin))
        if self.still:
            parts.append(self._neurons(batch, self.still, torch.tensor([form.post for form in self.still])))
        for compared in self.compares:
            pattern = causal(compared.twin(batch.values[f"L{self.layer:02d}.LN1"], self.scale))
            parts.append(self._head(batch, "pattern", (slice(None), compared.address.index), _put(pattern)))
        if self.channels:
            read, write, bias = stacked(self.channels)
            said = (batch.values[f"L{self.layer:02d}.LN2"] @ read) @ write + bias
            parts.append(self._neurons(batch, self.channels, ACTIVATION[self.activation](said)))
        return torch.cat(parts)

    def _head(
        self, batch: Recording, name: str, where: tuple[slice | int, ...], replace: Callable[[Tensor], Tensor]
    ) -> Float64[Tensor, " one"]:
        """The same for one head, whose output is a slice of an activation."""
        name = f"L{self.layer:02d}.{name}"
        own = batch.values[name][where]
        delta = replace(own) - own
        slopes = [(draw[name][where] * delta).sum((1, 2)) for draw in batch.gradients]
        return torch.stack(slopes).double().square().sum()[None]

    def _neurons(
        self, batch: Recording, forms: Sequence[Fires | Still | Channel], posts: Float[Tensor, "*batch neuron"]
    ) -> Float64[Tensor, " neuron"]:
        """The same for neurons with `posts` in the place of their post-activations."""
        name, neurons = f"L{self.layer:02d}.post", [form.address.index for form in forms]
        delta = posts.to(batch.values[name]) - batch.values[name][..., neurons]
        slopes = [(draw[name][..., neurons] * delta).sum(1) for draw in batch.gradients]
        return torch.stack(slopes).double().square().sum((0, 1))


def _put(value: Tensor) -> Callable[[Tensor], Tensor]:
    """What puts `value` in the place of anything."""
    return lambda _: value


def _by_layer(model: Model, forms: Iterable[Form]) -> list[_Layer]:
    chosen = list(forms)
    layers = sorted({form.address.layer for form in chosen})
    return [_layer(model, n, [form for form in chosen if form.address.layer == n]) for n in layers]


def _layer(model: Model, number: int, forms: Sequence[Form]) -> _Layer:
    looks = tuple(form for form in forms if isinstance(form, Looks))
    fires = tuple(form for form in forms if isinstance(form, Fires))
    lifted = tuple(form for form in forms if isinstance(form, Lifted))
    still = tuple(form for form in forms if isinstance(form, Still))
    tables = Tables.of(fires, model.n_vocab, model.device)
    compares = tuple(form for form in forms if isinstance(form, Compares))
    channels = tuple(form for form in forms if isinstance(form, Channel))
    scale = model.decoder.blocks[number].attention.scale
    return _Layer(number, model.decoder.activation, looks, fires, tables, lifted, still, compares, channels, scale)


def look(form: Looks, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch query key"]:
    """The pattern of a form: softmax of its scores over keys that are not later than the query."""
    return causal(form.twin(ids))


def causal(scores: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query key"]:
    """The pattern that scores give where no query sees a later key."""
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


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
            names = sorted({name for form in chosen for name in _restart(form)})
            clean = model.run(ids, (*names, "final"))
            own = logits_at(model, clean["final"], at)[None]
            for form in chosen:
                given = {name: clean[name] for name in _restart(form)}
                final = model.run(ids, ("final",), given=_replaced(model, form, ids, given))["final"]
                totals[form.address] += divergence(own, logits_at(model, final, at)[None])
    return {address: total / compared for address, total in totals.items()}


def _restart(form: Form) -> tuple[str, ...]:
    """The activations from which the rest of a forward pass follows, the replaced one last."""
    at = f"L{form.address.layer:02d}"
    if isinstance(form, Looks):
        return f"{at}.resid_pre", f"{at}.values", f"{at}.scores"
    if isinstance(form, Compares):
        return f"{at}.resid_pre", f"{at}.values", f"{at}.LN1", f"{at}.scores"
    if isinstance(form, Channel):
        return f"{at}.resid_mid", f"{at}.LN2", f"{at}.pre"
    if isinstance(form, Lifted):
        return f"{at}.resid_pre", f"{at}.z"
    return f"{at}.resid_mid", f"{at}.post" if isinstance(form, Still) else f"{at}.pre"


def _replaced(
    model: Model, form: Form, ids: Int[Tensor, "batch pos"], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`given` with the output of the form's part replaced."""
    name = _restart(form)[-1]
    value = given[name].clone()
    if isinstance(form, Looks):
        value[:, form.address.index] = form.twin(ids).to(value)
    elif isinstance(form, Lifted):
        value[:, :, form.address.index] = form.twin(value[:, :, form.address.index])
    elif isinstance(form, Still):
        value[..., form.address.index] = form.post
    elif isinstance(form, Compares):
        normed = given[f"L{form.address.layer:02d}.LN1"]
        value[:, form.address.index] = form.twin(normed, model.decoder.blocks[form.address.layer].attention.scale)
    elif isinstance(form, Channel):
        value[..., form.address.index] = form.twin(given[f"L{form.address.layer:02d}.LN2"])
    else:
        tables = Tables.of([form], model.n_vocab, model.device)
        value[..., form.address.index] = tables(ids)[..., 0].to(value)
    return {**given, name: value}


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

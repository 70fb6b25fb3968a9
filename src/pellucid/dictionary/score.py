"""Scores of a dictionary on text: how sparse it is, what it misses, and what is lost where it stands in for the model.

    FVU = Σ |y − said|² / Σ |y − mean y|²      sums over tokens and numbers; the mean is over tokens

Recovered is the share that is kept of what is lost where the mean stands there instead: 1 − (with it − model) / (mean −
model), of the cross-entropy of the text's next token, and of the divergence from the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.dictionary.dictionary import Dictionary
from pellucid.dictionary.sound import fitting_sites
from pellucid.engine.batches import in_batches
from pellucid.engine.sites import Site
from pellucid.exact.model import Model

FORMULA = "FVU = sum |y - said|^2 / sum |y - mean y|^2, over tokens and numbers; the mean is over tokens"
DENSE = 0.1
"""A feature that fires at a larger share of the positions is dense."""
_ROWS, _PLACES = 8, 256
"""Rows, and positions, that are worked on together."""


@dataclass(frozen=True)
class Spliced:
    """What the model says with something standing in: nats of the next token, and of divergence from the model."""

    ce: float
    kl: float


@dataclass(frozen=True)
class DictionaryScore:
    """What a dictionary is worth on a text; `None` is what could not be measured."""

    tokens: int
    l0: float
    """Features that fire at a position, all layers together."""
    fvu: float
    pca_fvu: float
    """That of as many principal components of what is written as features fire in a layer, fitted on this very text."""
    dead: float
    dense: float
    density: tuple[int, ...] = field(repr=False)
    """Features by how often they fire: a position in 10⁶ or fewer, 10⁵, …, every one to 10."""
    model_ce: float
    with_it: Spliced
    with_mean: Spliced
    ce_recovered: float | None
    kl_recovered: float | None


def score(model: Model, dictionary: Dictionary, rows: Int[Tensor, "row pos"]) -> DictionaryScore:
    """Score `dictionary` on `rows` of tokens.

    Args:
        model: The model that it is of.
        dictionary: What is scored.
        rows: Rows of tokens that it has not learned from, all whole.

    Returns:
        The scores.

    Raises:
        PellucidError: A dictionary of another model, layer, hook point or width, each named.
    """
    reads, writes = fitting_sites(dictionary, model)
    names = tuple(dict.fromkeys(site.activation for site in (*reads, *writes)))
    held: list[tuple[Tensor, Tensor]] = []

    def take(at: slice) -> None:
        with torch.inference_mode():
            values = model.run(rows[at], names)
        held.append((_stacked(values, reads), _stacked(values, writes)))

    for _ in in_batches(len(rows), _ROWS, take):
        pass
    x, y = (torch.cat([pair[end] for pair in held]) for end in (0, 1))
    fires = torch.cat([(dictionary.encode(part) > 0).flatten(0, -3).sum(0)[None] for part in _parts(x)]).sum(0)
    places = len(x)
    missed = torch.cat([dictionary.residual(*parts) for parts in zip(_parts(x), _parts(y), strict=True)])
    mean = y.mean(0)
    variance = float((y - mean).square().sum())
    share = fires.flatten() / places
    l0 = float(share.sum())
    alone, ours, means = _losses(model, dictionary, rows, reads, writes, mean)
    return DictionaryScore(
        places,
        l0,
        float(missed.square().sum()) / max(variance, 1e-30),
        _missed_by_components(y - mean, max(1, round(l0 / dictionary.layers))) / max(variance, 1e-30),
        float((share == 0).float().mean()),
        float((share > DENSE).float().mean()),
        tuple(torch.histc(share.clamp(min=1e-7).log10(), 7, -7, 0).int().tolist()),
        alone,
        ours,
        means,
        _recovered(alone, ours.ce, means.ce),
        _recovered(0.0, ours.kl, means.kl),
    )


def _parts(x: Float[Tensor, "place layer width"]) -> list[Tensor]:
    return [x[at : at + _PLACES] for at in range(0, len(x), _PLACES)]


def _stacked(values: dict[str, Tensor], sites: Sequence[Site]) -> Float[Tensor, "place layer width"]:
    """Activations of `sites`, a layer each."""
    return torch.stack([values[site.activation].flatten(2).flatten(0, 1) for site in sites], 1).float().cpu()


def _missed_by_components(y: Float[Tensor, "place layer width"], rank: int) -> float:
    """The squares that are left of centred `y` behind its `rank` largest components in each layer."""
    left = 0.0
    for layer in range(y.shape[1]):
        sizes = torch.linalg.eigvalsh((y[:, layer].T @ y[:, layer]).double())
        left += float(sizes[: max(0, len(sizes) - rank)].clamp(min=0).sum())
    return left


def _losses(
    model: Model,
    dictionary: Dictionary,
    rows: Int[Tensor, "row pos"],
    reads: Sequence[Site],
    writes: Sequence[Site],
    mean: Float[Tensor, "layer width"],
) -> tuple[float, Spliced, Spliced]:
    """The model's nats a token, and those of what stands in: the dictionary, and the mean."""
    sums, count = torch.zeros(5, dtype=torch.float64), 0
    layers = {site.activation: layer for layer, site in enumerate(writes)}

    def standing(said: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
        def at(layer: int) -> Callable[[Tensor], Tensor]:
            return lambda old: said[:, layer].reshape(old.shape).to(old)

        return {name: at(layer) for name, layer in layers.items()}

    def add(at: slice) -> None:
        nonlocal count
        own = rows[at]
        with torch.inference_mode():
            names = tuple(dict.fromkeys(site.activation for site in reads))
            values = model.run(own, ("logits", *names))
            plain = values["logits"][:, :-1].float().log_softmax(-1)
            said = dictionary.reconstruct(_stacked(values, reads))
            for number, what in enumerate((said, mean.expand(len(said), -1, -1))):
                other = model.run(own, ("logits",), edits=standing(what))["logits"][:, :-1].float().log_softmax(-1)
                sums[1 + 2 * number] += _nats(other, own)
                sums[2 + 2 * number] += float((plain.exp() * (plain - other)).sum())
            sums[0] += _nats(plain, own)
        count += own[:, 1:].numel()

    for _ in in_batches(len(rows), _ROWS, add):
        pass
    plain_ce, ce, kl, mean_ce, mean_kl = (sums / max(count, 1)).tolist()
    return plain_ce, Spliced(ce, kl), Spliced(mean_ce, mean_kl)


def _nats(said: Float[Tensor, "row pos vocab"], rows: Int[Tensor, "row _"]) -> float:
    return float(F.nll_loss(said.flatten(0, 1), rows[:, 1:].flatten().to(said.device), reduction="sum"))


def _recovered(model: float, ours: float, mean: float) -> float | None:
    """The share that is kept of what the mean loses; None where that loses nothing."""
    return None if mean - model < 1e-9 else 1 - (ours - model) / (mean - model)


def score_lines(found: DictionaryScore) -> list[str]:
    """A score for people, with the formula of what is missed."""

    def percent(value: float | None) -> str:
        return "unmeasured" if value is None else f"{value:.1%}"

    return [
        FORMULA,
        f"L0 {found.l0:.1f}, FVU {found.fvu:.4f} (principal components of equal number: {found.pca_fvu:.4f})",
        f"spliced in: cross-entropy {found.with_it.ce:.4f} nats (model {found.model_ce:.4f}, mean "
        f"{found.with_mean.ce:.4f}), recovered {percent(found.ce_recovered)}",
        f"spliced in: KL {found.with_it.kl:.4f} nats (mean {found.with_mean.kl:.4f}), recovered "
        f"{percent(found.kl_recovered)}",
        f"features: {found.dead:.1%} dead, {found.dense:.1%} dense (above {DENSE:.0%} of positions); by how often they "
        f"fire, from 1 in 10^7 to always: {' '.join(map(str, found.density))}",
        f"on {found.tokens:,} tokens",
    ]

"""What is worth working on next: the parts with the most effect that their sources do not explain yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.project.inventory import Entry, inventory
from pellucid.project.project import Project
from pellucid.project.verdict import Verdict

SIMILAR = 3
"""Similar parts that are named."""
ALIKE = 0.5
"""The least cosine at which two parts are called similar."""


@dataclass(frozen=True)
class Suggestion:
    """A part worth working on.

    `left` is what is not explained: nats per token where `ranked_by` is "effect" (what the mean in the part's place
    costs, times the share of it that the best source leaves), else parameters. `score` and `kl` are the best that any
    source of the part reached so far: isolated, and swapped in alone (nats per token, an estimate where `estimated`).
    `runs` is what runs, or `described` where the part runs raw and has a source.
    """

    address: str
    """The part."""
    name: str
    """Its name, empty where it has none."""
    runs: str
    verdict: Verdict
    """Whether it is exact, within or over its budget, stale or unmeasured."""
    ranked_by: Literal["effect", "parameters"]
    left: float
    effect: float | None
    """What the mean in its place costs, in nats per token; None: not measured."""
    parameters: int
    """How many numbers the part has."""
    score: float | None
    kl: float | None
    estimated: bool
    similar: tuple[tuple[str, float], ...] = ()
    """Parts of the model that are like it, with their cosines."""

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def next_parts(project: Project, count: int = 15) -> list[Suggestion]:
    """The `count` parts (QK and IN) that leave most unexplained: first those whose effect is known, by effect.

    Parts whose effect was never measured come behind, by parameters.
    """
    best = best_figures(project)
    found = [
        _suggestion(entry, best[str(entry.address)])
        for entry in inventory(project)
        if entry.address.kind in ("QK", "IN")
    ]
    ranked = sorted(found, key=lambda entry: (entry.effect is None, -entry.left))
    chosen = [entry for entry in ranked if entry.left > 0][:count]
    alike = similar(project.model, [Address.parse(entry.address) for entry in chosen])
    return [Suggestion(**vars(entry) | {"similar": alike[entry.address]}) for entry in chosen]


def best_figures(project: Project) -> dict[str, dict[str, float]]:
    """The best isolated `score`, swapped-in `kl` and `kl_estimate` by part, over all sources that it ever had."""
    best: dict[str, dict[str, float]] = defaultdict(dict)
    for kind, metrics in (("isolated", ("score",)), ("swapped_in", ("kl", "kl_estimate"))):
        for _, row in project.evidence.find(kind=kind, domain="overall"):
            if row.metric in metrics and row.value is not None:
                better = max if row.metric == "score" else min
                best[row.part][row.metric] = better(row.value, best[row.part].get(row.metric, row.value))
    return best


def _suggestion(entry: Entry, best: dict[str, float]) -> Suggestion:
    """How much of a part is left; a score stands in for the unknown effect of its source, at least 0."""
    effect, score = entry.state.effect, best.get("score")
    kl = best.get("kl", best.get("kl_estimate"))
    if effect is None:
        left = entry.state.parameters * (1.0 - min(max(score or 0.0, 0.0), 1.0))
    else:
        left = max(effect, 0.0) if kl is None else min(max(kl, 0.0), max(effect, 0.0))
    return Suggestion(
        str(entry.address),
        entry.name,
        entry.state.shown,
        entry.verdict,
        "parameters" if effect is None else "effect",
        left,
        effect,
        entry.state.parameters,
        score,
        kl,
        kl is not None and "kl" not in best,
    )


# --- similar parts ----------------------------------------------------------------------------------------------------


def similar(model: Model, addresses: Sequence[Address]) -> dict[str, tuple[tuple[str, float], ...]]:
    """For each of `addresses` the parts of its kind whose weights are most like its own, with the cosine, if any are.

    Neurons are compared by the directions that they read (columns of IN), heads by their maps from query to key
    (W_Q W_Kᵀ, with the Frobenius inner product).
    """
    found: dict[str, tuple[tuple[str, float], ...]] = {}
    heads, neurons = ([a for a in addresses if a.kind == kind] for kind in ("QK", "IN"))
    for chosen, compare in ((heads, head_cosines), (neurons, neuron_cosines)):
        for address, row in zip(chosen, compare(model, chosen) if chosen else (), strict=True):
            row[address.layer, address.index] = -1.0
            values, at = row.flatten().topk(min(SIMILAR, row.numel()))
            names = [str(Address(address.kind, *divmod(place, row.shape[1]))) for place in at.tolist()]
            pairs = zip(names, values.tolist(), strict=True)
            found[str(address)] = tuple((name, round(value, 3)) for name, value in pairs if value >= ALIKE)
    return found


def neuron_cosines(model: Model, chosen: list[Address]) -> Float[Tensor, "chosen layer neuron"]:
    """Cosines of the reading columns of `chosen` with those of all neurons, a layer at a time."""
    layers = range(model.decoder.layers)
    columns = [model.layer(layer).read for layer in layers]
    own = torch.nn.functional.normalize(torch.stack([columns[a.layer][:, a.index] for a in chosen]), dim=1)
    return torch.stack([own @ torch.nn.functional.normalize(columns[layer], dim=0) for layer in layers], 1)


def head_cosines(model: Model, chosen: list[Address]) -> Float[Tensor, "chosen layer head"]:
    """Cosines of W_Q W_Kᵀ of `chosen` with those of all heads.

    ⟨A Bᵀ, C Dᵀ⟩ is the sum of the elements of (Aᵀ C) ∘ (Bᵀ D), so that no [model, model] matrix is formed.
    """
    decoder = model.decoder
    layers = [model.layer(layer) for layer in range(model.decoder.layers)]
    shared = decoder.sizes.head // decoder.sizes.group
    reads = [own.query for own in layers], [own.key.repeat_interleave(shared, 1) for own in layers]
    q, k = (torch.stack(part, 0).permute(0, 2, 1, 3).flatten(0, 1) for part in reads)
    norms = _products(q, q, k, k).clamp(min=0).sqrt()  # [layer x head]
    rows = []
    for address in chosen:
        at = address.layer * decoder.sizes.head + address.index
        products = _products(q[at].expand_as(q), q, k[at].expand_as(k), k)
        rows.append(products / (norms * norms[at]).clamp(min=1e-30))
    return torch.stack(rows).view(-1, decoder.layers, decoder.sizes.head)


def _products(
    a: Float[Tensor, "part model dim"],
    c: Float[Tensor, "part model dim"],
    b: Float[Tensor, "part model dim"],
    d: Float[Tensor, "part model dim"],
) -> Float[Tensor, " part"]:
    """⟨a bᵀ, c dᵀ⟩ of every part, by two [dim, dim] products."""
    return ((a.mT @ c) * (b.mT @ d)).sum((1, 2))

"""Where a behaviour is computed: attribution over all heads and neurons, then exact patching of those that it names.

What is explained are the log odds of what the program says behind given places. Gradients say what each head and
neuron adds to them there beyond its mean over text; the largest are then put to their mean, one at a time, in exact
runs of the program. A part that knows the answer changes it alone; one that knows the question changes all that could
be said, which shows in the logits of all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.engine.intervene import ablate, means
from pellucid.engine.subjects import model_of
from pellucid.engine.trace import trace
from pellucid.rewrite.donors import Taker
from pellucid.rewrite.workbench import Workbench

HEADS, NEURONS = 12, 4
"""Heads and neurons that are patched exactly: gradients are poor at heads, whose means say something else again."""
SHARE = 0.25
"""The least share of the difference that a part must carry to count as the place of a behaviour."""
MEAN_ROWS = 32
"""Rows of text that means are taken over."""


@dataclass(frozen=True)
class EditSite:
    """A part at the place in question: what gradients say it adds, what its mean in its place takes away, as a share.

    `keeps` is the correlation of all logits with what they are then: near 1 where the answer alone was changed. For a
    head, the position that it takes most from, and that share of its attention; `tells` where that was looked at is how
    much what it takes from there decides of what is said, in nats (see `Taker`).
    """

    part: str
    estimate: float
    effect: float
    share: float
    keeps: float
    looks_at: int = -1
    attention: float = 0.0
    tells: float | None = None

    @property
    def is_head(self) -> bool:
        """Whether it is a head's OV."""
        return self.part.endswith(".OV")

    @property
    def layer(self) -> int:
        """The layer that it is of."""
        return int(self.part[1 : self.part.index(".")])

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


@dataclass(frozen=True)
class Located:
    """The parts that carry log odds, the largest exact effect first."""

    margin: float
    sites: tuple[EditSite, ...]

    def heads(self) -> list[EditSite]:
        """The heads that carry enough to speak of a place, those first that carry the answer and not the question."""
        found = [site for site in self.sites if site.is_head and site.share >= SHARE]
        return sorted(found, key=lambda site: -site.effect * max(0.0, site.keeps))


def locate(
    bench: Workbench,
    ids: Int[Tensor, "batch pos"],
    at: Sequence[int],
    says: Sequence[int],
    also: Sequence[Taker] = (),
) -> Located:
    """Find what makes the program say `says` behind the position `at` of each row of `ids`.

    The heads in `also` are patched too, whatever gradients say of them.
    """
    layers = range(model_of(bench.subject).decoder.layers)
    names = [f"L{layer:02d}.{name}" for layer in layers for name in ("z", "post")]
    rows, places = torch.arange(len(ids)), torch.tensor(at)
    said = torch.tensor(says)

    def margin(logits: Float[Tensor, "batch pos vocab"]) -> Float[Tensor, ""]:
        last = logits[rows, places]
        others = last.scatter(1, said[:, None], -torch.inf)
        return (last[rows, said] - others.logsumexp(-1)).mean()

    if not bench.means:
        text = bench.fit.take(range(min(MEAN_ROWS, len(bench.fit.ids))))
        bench.means.update(means(bench.model, text.ids, names).activations)
    run = trace(bench.subject, ids, [*names, "L*.pattern"], gradients=True)
    slopes = run.gradients(margin(run.logits))
    estimates: dict[tuple[str, int], float] = {}
    for name in names:
        beyond = (run.activations[name].detach() - bench.means[name]) * slopes.activations[name]
        here = beyond[rows, places]
        summed = here.sum(-1) if name.endswith("z") else here
        estimates |= {(name, member): value for member, value in enumerate(summed.sum(0).tolist())}
    whole = float(margin(run.logits.detach()))
    sites = []
    order = sorted(estimates, key=lambda member: -abs(estimates[member]))
    heads = [member for member in order if member[0].endswith("z")]
    told = {(f"L{taker.layer:02d}.z", taker.head): taker.tells for taker in also}
    patched = dict.fromkeys((*heads[:HEADS], *told, *[member for member in order if member not in heads][:NEURONS]))
    for name, member in patched:
        selected: dict[str, Any] = {"positions": sorted({*at}), "heads" if name.endswith("z") else "neurons": member}
        change = ablate(name, mean=_Held(bench.means), **selected)
        with torch.no_grad():
            logits = trace(bench.subject, ids, changes=[change]).logits
        effect = whole - float(margin(logits))
        both = torch.stack([side[rows, places].flatten() for side in (run.logits.detach(), logits)])
        looks = (-1, 0.0)
        if name.endswith("z"):
            pattern = run.activations[f"{name[:3]}.pattern"][0, member, at[0]].detach()
            looks = int(pattern.argmax()), float(pattern.max())
        sites.append(
            EditSite(
                _part(name, member),
                estimates[name, member],
                effect,
                effect / (whole or 1.0),
                float(torch.corrcoef(both)[0, 1]),
                *looks,
                told.get((name, member)),
            )
        )
    return Located(whole, tuple(sorted(sites, key=lambda site: -abs(site.effect))))


@dataclass(frozen=True)
class _Held:
    """Means as `ablate` takes them."""

    activations: dict[str, Tensor]


def _part(name: str, member: int) -> str:
    """The address of a head or neuron."""
    layer = name.partition(".")[0]
    return f"{layer}.H{member:02d}.OV" if name.endswith("z") else f"{layer}.N{member:04d}.OUT"

"""What wired parts do on fit text, in a clause for their sentences: on which tokens neurons fire, where heads look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.form import TokenText
from pellucid.listing.wrap import shown_token
from pellucid.measure.record import record

SHOWN = 3
"""Tokens, or pairs of them, that a clause names at most."""
ENOUGH = 0.8
"""The share of all a part does after which a clause names no more tokens."""
LEAST = 0.25
"""The share of all a part does that the tokens of a clause hold at least; below it there is no clause."""


@torch.no_grad()
def clauses(model: Model, rows: Int[Tensor, "row pos"], token_text: TokenText) -> dict[Address, str]:
    """A clause for every neuron and head that mostly acts on few tokens."""
    found: dict[Address, str] = {}
    for layer in range(model.decoder.layers):
        at = f"L{layer:02d}"
        mass = torch.zeros(model.n_vocab, model.decoder.sizes.neuron)
        looked: list[dict[tuple[int, int], float]] = [{} for _ in range(model.decoder.sizes.head)]
        for batch in record(model, rows, [f"{at}.post", f"{at}.pattern"]):
            mass.index_add_(0, batch.ids.flatten(), batch.values[f"{at}.post"].flatten(0, 1).clamp(min=0))
            _add_looks(looked, batch.ids, batch.values[f"{at}.pattern"])
        for neuron in range(model.decoder.sizes.neuron):
            if clause := _fires(mass[:, neuron], token_text):
                found[Address("IN", layer, neuron)] = clause
        for head, pairs in enumerate(looked):
            if clause := _looks(pairs, token_text):
                found[Address("QK", layer, head)] = clause
    return found


def _fires(mass: Float[Tensor, " vocab"], token_text: TokenText) -> str:
    """On which tokens a neuron fires, with the share of its activation there."""
    best = mass.topk(SHOWN)
    named = list(_enough(best.values.tolist(), float(mass.sum())))
    tokens = [shown_token(token_text(token)) for token in best.indices[: len(named)].tolist()]
    return f"Fires on {_listed(tokens)} ({100 * sum(named):.0f} %)." if named else ""


def _looks(pairs: dict[tuple[int, int], float], token_text: TokenText) -> str:
    """From which tokens to which a head looks, with the share of all its looks away from themselves."""
    best = sorted(pairs.items(), key=lambda entry: -entry[1])[:SHOWN]
    named = list(_enough([share for _, share in best], sum(pairs.values())))
    said = [" to ".join(shown_token(token_text(token)) for token in pair) for pair, _ in best[: len(named)]]
    return f"Mostly from {_listed(said)} ({100 * sum(named):.0f} %)." if named else ""


def _enough(sizes: Sequence[float], whole: float) -> Iterator[float]:
    """The shares of the first few of `sizes` that hold enough of the whole; none where too little is held."""
    shares = [size / whole for size in sizes] if whole > 0 else []
    if sum(shares) < LEAST:
        return
    total = 0.0
    for share in shares:
        if total >= ENOUGH or share <= 0:
            return
        total += share
        yield share


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _add_looks(
    looked: list[dict[tuple[int, int], float]],
    ids: Int[Tensor, "batch pos"],
    pattern: Float[Tensor, "batch head query key"],
) -> None:
    """Count how much each token looks at each other token, itself and the first of the row left out."""
    here = torch.eye(ids.shape[1], dtype=torch.bool)
    others = pattern.masked_fill(here, 0)
    others[..., 0] = 0
    weights, keys = others.max(-1)
    for head, of_head in enumerate(looked):
        seen = ids.gather(1, keys[:, head])
        for query, key, weight in zip(
            ids.flatten().tolist(), seen.flatten().tolist(), weights[:, head].flatten().tolist(), strict=True
        ):
            of_head[query, key] = of_head.get((query, key), 0.0) + weight

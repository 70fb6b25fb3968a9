"""The baseline of every description of a neuron: a table of its mean pre-activation by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.measure.record import record

BYTES = 1 << 30
"""The most memory that tables may take."""


@dataclass
class PairSums:
    """Sums over pairs of numbers x and y, for many parts at once, from which their correlations follow."""

    n: int = 0
    moments: Float64[Tensor, "moment part"] | None = None

    def add(self, x: Float[Tensor, "*batch part"], y: Float[Tensor, "*batch part"]) -> None:
        """Count pairs in."""
        a, b = (z.reshape(-1, z.shape[-1]).double() for z in (x, y))
        new = torch.stack([z.sum(0) for z in (a, b, a * a, b * b, a * b)])
        self.moments = new if self.moments is None else self.moments + new
        self.n += len(a)

    def correlation(self) -> list[float | None]:
        """The correlation of x and y for every part; None where one of them does not vary."""
        assert self.moments is not None
        x, y, xx, yy, xy = self.moments / self.n
        spread = (xx - x * x).clamp(min=0).sqrt() * (yy - y * y).clamp(min=0).sqrt()
        found = ((xy - x * y) / spread).tolist()
        return [
            value if deviation > 1e-9 * (1 + scale) else None
            for value, deviation, scale in zip(found, spread.tolist(), (xx + yy).tolist(), strict=True)
        ]


def table_scores(
    model: Model, fit: Int[Tensor, "fitted pos"], heldout: Int[Tensor, "heldout pos"]
) -> dict[Address, float | None]:
    """For every neuron the correlation of its pre-activation on `heldout` with its mean by token on `fit` text."""
    found: dict[Address, float | None] = {}
    for tables in token_tables(model, fit):
        pairs = {layer: PairSums() for layer in tables}
        for batch in record(model, heldout, _names(tables)):
            for layer, name in zip(tables, _names(tables), strict=True):
                pairs[layer].add(batch.values[name], tables[layer][batch.ids])
        for layer, of_layer in pairs.items():
            found |= {Address("IN", layer, n): value for n, value in enumerate(of_layer.correlation())}
    return found


def token_tables(model: Model, fit: Int[Tensor, "fitted pos"]) -> Iterator[dict[int, Float[Tensor, "token neuron"]]]:
    """By layer the mean pre-activation of every neuron by token, on fit text; the overall mean for others.

    As many layers at a time as there is memory for: each time text is read anew.
    """
    decoder = model.decoder
    together = max(1, BYTES // (4 * model.n_vocab * decoder.sizes.neuron))
    for start in range(0, decoder.layers, together):
        layers = range(start, min(start + together, decoder.layers))
        sums = {layer: torch.zeros(model.n_vocab, decoder.sizes.neuron, device=model.device) for layer in layers}
        counts = torch.zeros(model.n_vocab, 1, device=model.device)
        for batch in record(model, fit, _names(layers)):
            counts.index_add_(0, batch.ids.flatten(), counts.new_ones(batch.ids.numel(), 1))
            for layer, name in zip(layers, _names(layers), strict=True):
                sums[layer].index_add_(0, batch.ids.flatten(), batch.values[name].flatten(0, 1).float())
        for layer, total in sums.items():
            sums[layer] = torch.where(counts > 0, total / counts.clamp(min=1), total.sum(0) / counts.sum())
        yield sums


def _names(layers: Iterable[int]) -> list[str]:
    return [f"L{layer:02d}.pre" for layer in layers]

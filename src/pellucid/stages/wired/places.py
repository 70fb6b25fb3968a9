"""Where wired parts act most: the places of a text where a neuron fires most, or a head looks away from itself."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.worst_places import context, worst_places
from pellucid.measure.record import record


@torch.no_grad()
def strongest(model: Model, rows: Int[Tensor, "row pos"]) -> dict[str, list[dict[str, Any]]]:
    """For each neuron that fires and each head its strongest places on `rows`, none like another, by address."""
    found: dict[str, list[dict[str, Any]]] = {}
    for layer in range(model.decoder.layers):
        at = f"L{layer:02d}"
        recorded = list(record(model, rows, [f"{at}.post", f"{at}.pattern"]))
        posts = torch.cat([batch.values[f"{at}.post"] for batch in recorded])
        for neuron, places in enumerate(worst_places(posts, rows)):
            address = str(Address("IN", layer, neuron))
            for row, place in places:
                if (fires := float(posts[row, place, neuron])) > 0:
                    here = [0.0] * place + [1.0]
                    found.setdefault(address, []).append(_entry(model, rows[row], place, here, fires))
        away = torch.cat([_away(batch.values[f"{at}.pattern"]) for batch in recorded])
        for head, places in enumerate(worst_places(away, rows)):
            entries = []
            for row, place in places:
                looked = model.run(rows[row : row + 1], [f"{at}.pattern"])[f"{at}.pattern"][0, head, place]
                entries.append(_entry(model, rows[row], place, looked.tolist(), float(away[row, place, head])))
            found[str(Address("QK", layer, head))] = entries
    return found


def _away(pattern: Float[Tensor, "row head query key"]) -> Float[Tensor, "row query head"]:
    """The most that each query looks at one key other than itself and the first."""
    here = torch.eye(pattern.shape[-1], dtype=torch.bool)
    others = pattern.masked_fill(here, 0)
    others[..., 0] = 0
    return others.amax(-1).transpose(1, 2)


def _entry(model: Model, ids: Int[Tensor, " pos"], place: int, weights: list[float], strength: float) -> dict[str, Any]:
    return context(model, ids, place, weights, strength, strength) | {"strongest": True}

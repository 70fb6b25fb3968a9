"""What every part does on average on *fit* text: what a part without a source falls back to with residuals off."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.exact.model import Model, Taps
from pellucid.experiment.rows import Row

TAPS = ("EMB.TOK", "EMB.POS", "L*.pre", "L*.post", "L*.z")


def means(model: Model, rows: Iterable[Row]) -> dict[str, Float[Tensor, ...]]:
    """Mean values over all positions of `rows`, by the names that a program reads.

    `EMB.TOK`, `EMB.POS` [model]: the mean embeddings. `L00.IN` [neuron]: mean pre-activations. `L00.OV` [head, model],
    `L00.OUT` [neuron, model]: mean writes.
    """
    totals: dict[str, Tensor] = {}
    positions = 0
    for row in rows:
        ids = torch.as_tensor(row.tokens, dtype=torch.long)[None]
        with torch.inference_mode():
            recorded = model.forward(ids, Taps(record=TAPS)).activations
        for name, value in recorded.items():
            total = value[0].double().sum(0)
            totals[name] = totals[name] + total if name in totals else total
        positions += len(row)
    average = {name: (total / positions).float() for name, total in totals.items()}
    found = {name: average[name] for name in ("EMB.TOK", "EMB.POS")}
    for layer in range(model.config.n_layer):
        at, block = f"L{layer:02d}", f"h.{layer}"
        heads = model.weights[f"{block}.attn.c_proj.weight"].float().reshape(*average[f"{at}.z"].shape, -1)
        found[f"{at}.IN"] = average[f"{at}.pre"]
        found[f"{at}.OV"] = torch.einsum("hd,hdm->hm", average[f"{at}.z"], heads)
        found[f"{at}.OUT"] = average[f"{at}.post"][:, None] * model.weights[f"{block}.mlp.c_proj.weight"].float()
    return found

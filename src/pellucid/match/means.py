"""What every part does on average on *fit* text: what a part without a source falls back to with residuals off."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.match.project import Project
from pellucid.match.record import batches
from pellucid.match.sources import rows_for

MEAN_TOKENS = {False: 100_000, True: 20_000}
"""Tokens of fit text that means are taken over."""

TAPS = ("EMB.TOK", "EMB.POS", "L*.pre", "L*.post", "L*.z")


def fit_means(project: Project, *, quick: bool) -> dict[str, Float[Tensor, ...]]:
    """The means of a project's subject over its fit text."""
    return means(project.model, rows_for(project, "fit", MEAN_TOKENS[quick]))


def means(model: Model, rows: Int[Tensor, "row pos"]) -> dict[str, Float[Tensor, ...]]:
    """Mean values over all positions of `rows`, by the names that a program reads.

    `EMB.TOK`, `EMB.POS` [model]: the mean embeddings. `L00.IN` [neuron]: mean pre-activations. `L00.OV` [head, model],
    `L00.OUT` [neuron, model]: mean writes.
    """
    totals: dict[str, Tensor] = {}
    names = [name for pattern in TAPS for name in model.graph.names(pattern)]
    for batch in track(list(batches(rows, model.n_vocab)), "averaging"):
        with torch.inference_mode():
            recorded = model.run(batch, names)
        for name, value in recorded.items():
            total = value.expand(len(batch), *value.shape[1:]).double().sum((0, 1))
            totals[name] = totals[name] + total if name in totals else total
    positions = rows.numel()
    average = {name: (total / positions).float() for name, total in totals.items()}
    found = {name: average[name] for name in ("EMB.TOK", "EMB.POS")}
    for layer in range(model.config.n_layer):
        at, block = f"L{layer:02d}", f"h.{layer}"
        heads = model.weights[f"{block}.attn.c_proj.weight"].float().reshape(*average[f"{at}.z"].shape, -1)
        found[f"{at}.IN"] = average[f"{at}.pre"]
        found[f"{at}.OV"] = torch.einsum("hd,hdm->hm", average[f"{at}.z"], heads)
        found[f"{at}.OUT"] = average[f"{at}.post"][:, None] * model.weights[f"{block}.mlp.c_proj.weight"].float()
    return found

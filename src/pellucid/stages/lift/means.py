"""What a program needs beside its subject's weights: what every part does on average, and the vectors of lifted parts.

All of it follows from the subject, its *fit* text and the seed, and is made again wherever it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.effort import Effort
from pellucid.base.memory import keeping
from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.family import seams
from pellucid.forms.lifting import Vectors, fit_vectors
from pellucid.measure.record import batches
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens, rows_for

TAPS = ("EMB.TOK", "EMB.POS", "L*.pre", "L*.post", "L*.z")


@dataclass(frozen=True)
class Extras:
    """What stands beside the weights: `means` by the names that a program reads, and the vectors of lifted parts."""

    means: dict[str, Float[Tensor, ...]]
    vectors: Vectors


@keeping()
def fit_extras(project: Project, effort: Effort, *, lifts: bool = True) -> Extras:
    """The means and vectors of a project's subject over its fit text; vectors of what can be lifted, if anything is."""
    model = project.model
    rows = rows_for(project, "fit", effort.mean_tokens)
    average, some = averages(model, rows), first_tokens(rows, effort.vector_tokens)
    if not lifts:
        return Extras(named(model, average), Vectors((), (), (), ()))
    return Extras(named(model, average), fit_vectors(model, average, some, project.manifest.settings.seed))


def averages(model: Model, rows: Int[Tensor, "row pos"]) -> dict[str, Float[Tensor, ...]]:
    """Mean activations over all positions of `rows`, by name."""
    totals: dict[str, Tensor] = {}
    names = [name for pattern in TAPS for name in model.graph.names(pattern)]
    for batch in track(list(batches(rows, model.n_vocab)), "averaging"):
        with torch.inference_mode():
            recorded = model.run(batch, names)
        for name, value in recorded.items():
            total = value.expand(len(batch), *value.shape[1:]).double().sum((0, 1))
            totals[name] = totals[name] + total if name in totals else total
    return {name: (total / rows.numel()).float() for name, total in totals.items()}


def named(model: Model, average: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ...]]:
    """Mean outputs of parts by the names that a program reads.

    `EMB.TOK`, `EMB.POS` [model]: the mean embeddings. `L00.IN` [neuron]: mean pre-activations, of gated neurons what
    they fire. `L00.OV` [head, model], `L00.OUT` [neuron, model]: mean writes.
    """
    found = {name: average[name] for name in (seams.TOKENS, seams.POSITIONS) if name in average}
    for layer in range(model.decoder.layers):
        at, own = f"L{layer:02d}", model.layer(layer)
        found[f"{at}.IN"] = average[f"{at}.{'pre' if own.block.mlp.gate is None else 'post'}"]
        found[f"{at}.OV"] = torch.einsum("hd,hdm->hm", average[f"{at}.z"], own.out.float())
        found[f"{at}.OUT"] = average[f"{at}.post"][:, None] * own.write.float()
    return found

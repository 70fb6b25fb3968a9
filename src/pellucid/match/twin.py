"""The fast twin of a program: the exact model with the outputs of some parts replaced by what their sources say.

Sources here are functions of the tokens alone, so a twin is the exact graph with edits; it agrees with the emitted
program to 1e-4 of its logits (tested), and is what fitting and linking run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.match.forms import Fires, Looks, Tables

Form = Looks | Fires


@dataclass(frozen=True)
class Layer:
    """The replaced parts of one layer: heads by number, and neurons by number with their common tables."""

    looks: tuple[tuple[int, Looks], ...]
    neurons: Int[Tensor, " chosen"]
    tables: Tables | None


class Twin:
    """`model` with every part in `forms` running its source alone (its residual off), everything else exact."""

    def __init__(self, model: Model, forms: Mapping[Address, Form] | Iterable[Form]) -> None:
        self.model = model
        chosen = list(forms.values()) if isinstance(forms, Mapping) else list(forms)
        self.layers = {n: _layer(model, n, chosen) for n in sorted({form.address.layer for form in chosen})}

    def edits(self, ids: Int[Tensor, "batch pos"]) -> dict[str, Callable[[Tensor], Tensor]]:
        """What to put in place of scores and pre-activations for the rows `ids`."""
        edits: dict[str, Callable[[Tensor], Tensor]] = {}
        for number, layer in self.layers.items():
            if layer.looks:
                edits[f"L{number:02d}.scores"] = _scores(layer, ids)
            if layer.tables is not None:
                edits[f"L{number:02d}.pre"] = _pre_activations(layer, layer.tables, ids)
        return edits

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token of whole rows."""
        return self.model.run(ids, ("logits",), edits=self.edits(ids))["logits"]


def _layer(model: Model, number: int, forms: list[Form]) -> Layer:
    looks = tuple((f.address.index, f) for f in forms if isinstance(f, Looks) and f.address.layer == number)
    fires = [f for f in forms if isinstance(f, Fires) and f.address.layer == number]
    neurons = torch.tensor([f.address.index for f in fires], dtype=torch.long, device=model.device)
    tables = Tables.of(fires, model.n_vocab, model.device) if fires else None
    return Layer(looks, neurons, tables)


def _scores(layer: Layer, ids: Tensor) -> Callable[[Tensor], Tensor]:
    def edit(scores: Tensor) -> Tensor:
        scores = scores.clone()
        for head, form in layer.looks:
            scores[:, head] = form.twin(ids).to(scores.dtype)
        return scores

    return edit


def _pre_activations(layer: Layer, tables: Tables, ids: Tensor) -> Callable[[Tensor], Tensor]:
    def edit(pre: Tensor) -> Tensor:
        if len(layer.neurons) == pre.shape[-1]:
            return tables(ids).to(pre.dtype)[..., layer.neurons.argsort()]
        pre = pre.clone()
        pre[..., layer.neurons] = tables(ids).to(pre.dtype)
        return pre

    return edit

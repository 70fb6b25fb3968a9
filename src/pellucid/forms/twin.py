"""The fast twin of a program: the exact model with the outputs of some parts replaced by what their forms say.

Sources here are functions of the tokens alone, and lifted parts of what the raw part carries, so a twin is the exact
graph with edits; what parts read along few directions is folded into its weights. It agrees with the emitted program to
1e-4 of its logits (tested), and is what fitting and linking run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.forms.form import Form, Together, folded, grouped


class Twin:
    """`model` with every part in `forms` running its form alone (its residual off), everything else exact."""

    def __init__(self, model: Model, forms: Mapping[Address, Form] | Iterable[Form]) -> None:
        self.model = model
        self.forms = list(forms.values()) if isinstance(forms, Mapping) else list(forms)
        self.layers: dict[int, list[Together[Any]]] = {}
        for group in grouped(model, self.forms):
            self.layers.setdefault(group.layer, []).append(group)
        self._folded = {number: _weights(model, groups) for number, groups in self.layers.items()}
        self._fold()

    def _fold(self) -> None:
        """Make the exact model with what is folded into its weights."""
        changed = {name: weight for of_layer in self._folded.values() for name, weight in of_layer.items()}
        self.exact = self.model.but(self.model.weights | changed, self.model.graph) if changed else self.model

    def edits(self, ids: Int[Tensor, "batch pos"], first: int = 0) -> dict[str, Edit]:
        """What to put in place of activations for the rows `ids`, from layer `first` on."""
        found: dict[str, Edit] = {}
        for number, groups in self.layers.items():
            found |= _edits([group for group in groups if not group.in_weights], ids) if number >= first else {}
        return found

    def without(self, address: Address) -> Twin:
        """This twin with the part at `address` raw again."""
        other, number = copy(self), address.layer
        other.forms = [form for form in self.forms if form.address != address]
        groups = grouped(self.model, [form for form in other.forms if form.address.layer == number])
        other.layers = self.layers | {number: groups}
        other._folded = self._folded | {number: _weights(self.model, groups)}
        other._fold()
        return other

    def run(
        self,
        ids: Int[Tensor, "batch pos"],
        want: Sequence[str],
        given: Mapping[str, Tensor] | None = None,
        first: int = 0,
    ) -> dict[str, Tensor]:
        """The activations `want`, restarting from those `given` where layers before `first` need not run."""
        return self.exact.run(ids, tuple(want), given, self.edits(ids, first))

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token of whole rows."""
        return self.run(ids, ("logits",))["logits"]


def _weights(model: Model, groups: Sequence[Together[Any]]) -> dict[str, Tensor]:
    """The weights of a layer in which forms run, by name; none where no form does."""
    inside = [group for group in groups if group.in_weights]
    return folded(model, inside, {name: vector for group in inside for name, vector in group.vectors.items()})


def _edits(groups: Sequence[Together[Any]], ids: Int[Tensor, "batch pos"]) -> dict[str, Edit]:
    """What to put in place of a layer's activations, for the rows `ids`.

    Gated neurons fire and write by one activation: what some always write stands there last.
    """
    groups = sorted(groups, key=lambda group: group.forms[0].address.kind == "OUT")
    return {name: _edit([group for group in groups if group.name == name], ids) for name in {g.name for g in groups}}


def _edit(groups: Sequence[Together[Any]], ids: Int[Tensor, "batch pos"]) -> Edit:
    """The same of one activation, from which alone they compute."""

    def edit(value: Tensor) -> Tensor:
        for group in groups:
            value = group.put(value, group.seen(ids, {group.name: value}))
        return value

    return edit

"""What a weightless program is made of: a network that runs with activations replaced, whatever its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.exact.model import Model


class Network(Protocol):
    """A model as the search sees it.

    `run` knows the names `EMB.POS`, `L00.resid_pre`, `L00.pattern`, `L00.z` and `logits`. Where it is not `causal`
    every place sees the whole row, and ids below 0 are padding that nothing sees.
    """

    @property
    def layers(self) -> int:
        """How many layers it has."""

    @property
    def heads(self) -> int:
        """How many heads a layer has."""

    @property
    def n_ctx(self) -> int:
        """How long a row may be."""

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""

    @property
    def causal(self) -> bool:
        """Whether a place sees earlier places only."""

    @property
    def embedding(self) -> Tensor:
        """What a token writes [vocab model]."""

    @property
    def position_table(self) -> Tensor:
        """What a position writes [pos model]."""

    def run(
        self,
        ids: Tensor,
        names: Sequence[str],
        *,
        edits: Mapping[str, Edit] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Activations by name, with `edits` applied; what is `given` is not computed, nor what lies before it."""


@dataclass(frozen=True, eq=False)
class Exact:
    """A subject's exact graph as a network."""

    model: Model

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return self.model.decoder.layers

    @property
    def heads(self) -> int:
        """How many heads a layer has."""
        return self.model.decoder.sizes.head

    @property
    def n_ctx(self) -> int:
        """How long a row may be."""
        return self.model.n_ctx

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return self.model.subject.parameters

    @property
    def causal(self) -> bool:
        """A place sees earlier places only."""
        return True

    @property
    def embedding(self) -> Tensor:
        """What a token writes [vocab model]."""
        return self.model.embedding

    @property
    def position_table(self) -> Tensor:
        """What a position writes [pos model]."""
        return self.model.position_table

    def run(
        self,
        ids: Tensor,
        names: Sequence[str],
        *,
        edits: Mapping[str, Edit] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Activations by name, as the exact graph computes them."""
        return self.model.run(ids, tuple(names), edits=edits, given=given)

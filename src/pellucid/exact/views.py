"""The matrices of a model in canonical axes, whatever its family: views, so writing to them writes its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pellucid.exact.norms import NormView
from pellucid.family.blocks import Block, Decoder
from pellucid.family.slots import Slot


@dataclass(frozen=True)
class LayerView:
    """One layer. Biases are None where there are none; keys and values have a head for each group."""

    weights: Mapping[str, Tensor]
    decoder: Decoder
    layer: int

    @property
    def block(self) -> Block:
        """What the layer is made of."""
        return self.decoder.blocks[self.layer]

    @property
    def norm1(self) -> NormView:
        """What attention reads through."""
        return NormView.of(self.block.attention.norm, self.weights, self.layer)

    @property
    def norm2(self) -> NormView:
        """What the MLP reads through."""
        return NormView.of(self.block.mlp.norm, self.weights, self.layer)

    @property
    def behind(self) -> NormView | None:
        """What all heads write together goes through, where it does."""
        norm = self.block.attention.behind
        return None if norm is None else NormView.of(norm, self.weights, self.layer)

    @property
    def behind_mlp(self) -> NormView | None:
        """What all neurons write together goes through, where it does."""
        norm = self.block.mlp.behind
        return None if norm is None else NormView.of(norm, self.weights, self.layer)

    @property
    def query(self) -> Float[Tensor, "model head dim"]:
        """What queries are read by."""
        return self._heads(self.block.attention.q)

    @property
    def key(self) -> Float[Tensor, "model group dim"]:
        """What keys are read by."""
        return self._heads(self.block.attention.k)

    @property
    def value(self) -> Float[Tensor, "model group dim"]:
        """What values are read by."""
        return self._heads(self.block.attention.v)

    @property
    def query_bias(self) -> Float[Tensor, "head dim"] | None:
        """What is added to queries."""
        return self._head_bias(self.block.attention.q)

    @property
    def key_bias(self) -> Float[Tensor, "group dim"] | None:
        """What is added to keys."""
        return self._head_bias(self.block.attention.k)

    @property
    def value_bias(self) -> Float[Tensor, "group dim"] | None:
        """What is added to values."""
        return self._head_bias(self.block.attention.v)

    @property
    def out(self) -> Float[Tensor, "head dim model"]:
        """Through what heads write."""
        return self._view(self.block.attention.o, "head dim model")

    @property
    def out_bias(self) -> Float[Tensor, " model"] | None:
        """What attention adds wherever it is."""
        return self._bias(self.block.attention.o, "model")

    @property
    def read(self) -> Float[Tensor, "model neuron"]:
        """What the activation function is applied to: of a gated neuron its gate."""
        return self._view(self.block.mlp.first, "model neuron")

    @property
    def read_bias(self) -> Float[Tensor, " neuron"] | None:
        """What is added to it."""
        return self._bias(self.block.mlp.first, "neuron")

    @property
    def up(self) -> Float[Tensor, "model neuron"]:
        """What a gate multiplies; the same as `read` where there is no gate."""
        return self._view(self.block.mlp.read, "model neuron")

    @property
    def up_bias(self) -> Float[Tensor, " neuron"] | None:
        """What is added to that."""
        return self._bias(self.block.mlp.read, "neuron")

    @property
    def write(self) -> Float[Tensor, "neuron model"]:
        """What neurons write."""
        return self._view(self.block.mlp.write, "neuron model")

    @property
    def write_bias(self) -> Float[Tensor, " model"] | None:
        """What the MLP adds wherever it is."""
        return self._bias(self.block.mlp.write, "model")

    def _heads(self, slot: Slot) -> Tensor:
        return self._view(slot, f"model {slot.heads_axis} dim")

    def _head_bias(self, slot: Slot) -> Tensor | None:
        return self._bias(slot, f"{slot.heads_axis} dim")

    def _view(self, slot: Slot, order: str) -> Tensor:
        return slot.view(self.weights, self.layer, self.decoder.sizes, order)

    def _bias(self, slot: Slot, order: str) -> Tensor | None:
        return slot.bias_view(self.weights, self.layer, self.decoder.sizes, order)

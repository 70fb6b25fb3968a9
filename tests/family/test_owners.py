"""What follows from a decoder without running it: a checkpoint's tensors, owners, canonical views."""

from __future__ import annotations

import pytest
import torch

import families
from pellucid.family.owners import owned
from pellucid.family.shapes import shapes


@pytest.mark.parametrize("seed", families.SEEDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_shapes_and_owners_are_those_of_the_checkpoint(family: str, seed: int) -> None:
    made = families.make(family, seed)
    assert {name: tuple(tensor.shape) for name, tensor in made.weights.items()} == shapes(made.decoder)
    marks = {name: torch.zeros_like(tensor) for name, tensor in made.weights.items()}
    listed = list(made.decoder.addresses.addresses())
    assert listed == sorted(listed)
    for address in listed:
        pieces = owned(made.decoder, address)
        assert pieces, address
        for piece in pieces:
            assert marks[piece.tensor][piece.index].numel() == piece.size > 0
            marks[piece.tensor][piece.index].add_(1)
    assert all(bool((mark == 1).all()) for mark in marks.values())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_views_write_through(family: str) -> None:
    made = families.make(family, 1)
    block, sizes = made.decoder.blocks[-1], made.decoder.sizes
    layer = made.decoder.layers - 1
    for slot in block.slots:
        axes = " ".join(sorted(set(slot.layout.split()) - {"part", "->", "<-"}))
        view = slot.view(made.weights, layer, sizes, axes)
        before = made.weights[slot.weight(layer)].clone()
        view.add_(1.0)
        changed = (made.weights[slot.weight(layer)] != before).sum()
        assert changed == view.numel() == before.numel() // (3 if slot.part is not None else 1)

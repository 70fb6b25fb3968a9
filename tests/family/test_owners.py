"""What follows from a decoder without running it: a checkpoint's tensors, owners, canonical views."""

from __future__ import annotations

import pytest
import torch

import families
from pellucid.family.blocks import Decoder
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


def switches(decoder: Decoder) -> set[str]:
    """What a decoder uses, each with its value."""
    whole: dict[str, object] = {
        "tied": decoder.tied,
        "grouped": decoder.grouped,
        "positions": decoder.positions is not None,
        "scaled embedding": decoder.embed_scale is not None,
        "logit cap": decoder.logit_cap is not None,
        "width apart": decoder.sizes.head * decoder.sizes.dim != decoder.sizes.model,
        "bases": len({block.attention.rotary for block in decoder.blocks}),
    }
    found = {f"{name} {value}" for name, value in whole.items()}
    for block in decoder.blocks:
        at, mlp = block.attention, block.mlp
        own: dict[str, object] = {
            "parallel": block.parallel,
            "gate": mlp.gate is not None,
            "window": at.window is not None,
            "score cap": at.cap is not None,
            "head norms": at.head_norms is not None,
            "behind": at.behind is not None,
            "norm": f"{at.norm.kind} {at.norm.plus_one}",
            "biases": f"{at.q.bias} {at.o.bias} {mlp.read.bias}",
        }
        if at.rotary is not None:
            own |= {"rotary": type(at.rotary.stretch).__name__, "partial": at.rotary.dims < decoder.sizes.dim}
        found |= {f"{name} {value}" for name, value in own.items()}
    return found


def test_random_configurations_cover_every_switch() -> None:
    made = (families.make(family, seed) for family in families.FAMILIES for seed in families.SEEDS)
    seen = set[str]().union(*(switches(one.decoder) for one in made))
    names = ("tied", "grouped", "positions", "scaled embedding", "logit cap", "parallel", "gate", "window")
    names += ("score cap", "head norms", "behind", "partial", "width apart")
    assert {f"{name} {on}" for name in names for on in (True, False)} <= seen
    assert {f"rotary {kind}" for kind in ("NoneType", "Linear", "Llama3", "Yarn")} <= seen
    assert {"norm layer False", "norm rms False", "norm rms True", "bases 1", "bases 2"} <= seen
    assert {"biases True True True", "biases False False False", "biases True False False"} <= seen

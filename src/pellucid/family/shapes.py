"""The tensors that a checkpoint of a decoder must hold."""

from __future__ import annotations

from pellucid.family.blocks import Decoder


def shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by canonical name."""
    sizes = decoder.sizes
    found: dict[str, tuple[int, ...]] = {decoder.embed: (sizes.vocab, sizes.model)}
    if decoder.positions is not None:
        found[decoder.positions] = (sizes.pos, sizes.model)
    for layer, block in enumerate(decoder.blocks):
        for slot in block.slots:
            found |= slot.shapes(layer, sizes)
    for norm, layer, width in decoder.norms():
        found |= dict.fromkeys(norm.names(layer), (width,))
    if decoder.unembed is not None:
        found[decoder.unembed] = (sizes.vocab, sizes.model)
    return found

"""Which parameters an address owns. Every parameter of a subject has exactly one owner.

QK owns a head's queries and keys with their biases; OV its values, their biases, and the rows through which it writes;
IN what a neuron reads, its gate too, OUT what it writes. Keys and values that several heads share belong to a group. A
tied embedding belongs to EMB.TOK.
"""

from __future__ import annotations

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.family.blocks import Block, Decoder, Norm
from pellucid.family.shapes import shapes
from pellucid.family.slots import Rectangle, Sizes, Slot


def owned(decoder: Decoder, address: Address) -> list[Rectangle]:
    """The parameters that `address` owns. Raises `PellucidError` for an address that the subject does not have."""
    if address not in decoder.addresses:
        raise PellucidError(f"{address} names no part of this subject")
    match address.kind:
        case "EMB.TOK":
            return _whole(decoder, decoder.embed)
        case "EMB.POS":
            return _whole(decoder, decoder.positions)
        case "LNF":
            return _norm(decoder.final, 0, decoder.sizes.model)
        case "UNEMB":
            return _whole(decoder, decoder.unembed)
        case _:
            return _of_block(decoder, decoder.blocks[address.layer], address)


def _of_block(decoder: Decoder, block: Block, address: Address) -> list[Rectangle]:
    at, mlp, sizes, layer = block.attention, block.mlp, decoder.sizes, address.layer
    match address.kind:
        case "QK" | "OV" | "K" | "V":
            return _of_head(decoder, block, address)
        case "IN":
            reads = (mlp.gate, mlp.read) if mlp.gate else (mlp.read,)
            return [piece for slot in reads for piece in slot.owned(layer, sizes, neuron=address.index)]
        case "OUT":
            return mlp.write.owned(layer, sizes, neuron=address.index)
        case "ATTN.B" | "MLP.B":
            return _bias(at.o if address.kind == "ATTN.B" else mlp.write, layer, sizes)
        case "QN" | "KN":
            assert at.head_norms is not None
            return _norm(at.head_norms[address.kind == "KN"], layer, sizes.dim)
        case _:
            norms = {"LN1": at.norm, "LN2": mlp.norm, "ATTN.LN": at.behind, "MLP.LN": mlp.behind}
            return _norm(norms[address.kind], layer, sizes.model)


def _of_head(decoder: Decoder, block: Block, address: Address) -> list[Rectangle]:
    at, sizes, layer, index = block.attention, decoder.sizes, address.layer, address.index
    if address.kind in ("K", "V"):
        return (at.k if address.kind == "K" else at.v).owned(layer, sizes, group=index)
    own, shared = (at.q, at.k) if address.kind == "QK" else (at.o, at.v)
    of_group = [] if decoder.grouped else shared.owned(layer, sizes, **{shared.heads_axis: index})
    of_head = own.owned(layer, sizes, head=index)
    return of_head + of_group if address.kind == "QK" else of_group + of_head


def _whole(decoder: Decoder, tensor: str | None) -> list[Rectangle]:
    return [] if tensor is None else [Rectangle.whole(tensor, shapes(decoder)[tensor])]


def _norm(norm: Norm | None, layer: int, width: int) -> list[Rectangle]:
    return [] if norm is None else [Rectangle.whole(name, (width,)) for name in norm.names(layer)]


def _bias(slot: Slot, layer: int, sizes: Sizes) -> list[Rectangle]:
    return [Rectangle.whole(slot.bias_name(layer), (sizes.model,))] if slot.bias else []

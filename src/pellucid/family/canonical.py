"""The weights of a decoder under the names of addresses, their axes in one order whatever the family: format 2.

| name | axes |
|---|---|
| `EMB.TOK`, `UNEMB`, `EMB.POS` | [vocab model], [vocab model], [pos model] |
| `L00.LN1`, `L00.LN2`, `LNF`, `L00.ATTN.LN`, `L00.MLP.LN` (gains; biases are `L00.LN1.bias`) | [model] |
| `L00.QN`, `L00.KN` (gains) | [dim] |
| `L00.H*.Q`, `L00.H*.K`, `L00.H*.V` (biases: `L00.H*.Q.bias`) | [model head dim] |
| `L00.G*.K`, `L00.G*.V` in the place of these where heads share them | [model group dim] |
| `L00.H*.O`, `L00.ATTN.B` | [head dim model], [model] |
| `L00.N*.IN` (bias: `L00.N*.IN.bias`), of gated neurons `L00.N*.GATE` and `L00.N*.UP` | [model neuron] |
| `L00.N*.OUT`, `L00.MLP.B` | [neuron model], [model] |

The gain of a norm is stored as it multiplies: where a checkpoint holds it less one, one is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.names import Names
from pellucid.family.slots import Slot

if TYPE_CHECKING:
    from torch import Tensor

_OWN = ("{}", "{}.bias")
_LAYER = "L{layer:02d}"


def canonical(decoder: Decoder) -> Decoder:
    """The same decoder with its weights stored under the names of addresses."""
    norm, at = _norm(decoder.final, "LNF"), _LAYER
    return replace(
        decoder,
        blocks=tuple(
            replace(block, attention=_attention(block.attention, decoder, at), mlp=_mlp(block.mlp, at))
            for block in decoder.blocks
        ),
        embed="EMB.TOK",
        positions=None if decoder.positions is None else "EMB.POS",
        unembed=None if decoder.unembed is None else "UNEMB",
        final=norm,
        names=Names(unembed="UNEMB"),
    )


def _norm(norm: Norm, tensor: str) -> Norm:
    return Norm(norm.kind, tensor, norm.epsilon, stored=_OWN)


def _maybe(norm: Norm | None, tensor: str) -> Norm | None:
    return None if norm is None else _norm(norm, tensor)


def _attention(own: Attention, decoder: Decoder, at: str) -> Attention:
    axis, letter = ("group", "G") if decoder.grouped else ("head", "H")
    norms = own.head_norms and (_norm(own.head_norms[0], f"{at}.QN"), _norm(own.head_norms[1], f"{at}.KN"))

    def slot(name: str, axes: str, bias: bool) -> Slot:
        return Slot(f"{at}.{name}", f"model -> {axes} dim", bias=bias, stored=_OWN)

    return replace(
        own,
        norm=_norm(own.norm, f"{at}.LN1"),
        q=slot("H*.Q", "head", own.q.bias),
        k=slot(f"{letter}*.K", axis, own.k.bias),
        v=slot(f"{letter}*.V", axis, own.v.bias),
        o=Slot(f"{at}.H*.O", "head dim -> model", bias=own.o.bias, stored=("{}", f"{at}.ATTN.B")),
        head_norms=norms,
        behind=_maybe(own.behind, f"{at}.ATTN.LN"),
    )


def _mlp(own: MLP, at: str) -> MLP:
    def slot(name: str, bias: bool) -> Slot:
        return Slot(f"{at}.N*.{name}", "model -> neuron", bias=bias, stored=_OWN)

    return replace(
        own,
        norm=_norm(own.norm, f"{at}.LN2"),
        read=slot("UP" if own.gate else "IN", own.read.bias),
        gate=own.gate and slot("GATE", own.gate.bias),
        write=Slot(f"{at}.N*.OUT", "neuron -> model", bias=own.write.bias, stored=("{}", f"{at}.MLP.B")),
        behind=_maybe(own.behind, f"{at}.MLP.LN"),
    )


def stored(decoder: Decoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The `weights` of a checkpoint as format 2 stores them, each in memory of its own."""
    return {name: (view + more).contiguous() for name, view, more in _views(decoder, weights)}


def checkpoint(decoder: Decoder, weights: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the `weights` of a checkpoint, with what format 2 stores as `held` in its place.

    Axes of a head may be one, as matrices have them: [model, head · dim].
    """
    found = {name: tensor.clone() for name, tensor in weights.items()}
    for name, view, more in _views(decoder, found):
        if name in held:
            view.copy_(held[name].reshape(view.shape) - more)
    return found


def _views(decoder: Decoder, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, float]]:
    """Every name of format 2 with what of `weights` it stores, a view in its axes, and what is added to that."""
    own, sizes = canonical(decoder), decoder.sizes
    ends = ((own.embed, decoder.embed), (own.positions, decoder.positions), (own.unembed, decoder.unembed))
    yield from ((name, weights[theirs], 0.0) for name, theirs in ends if name is not None and theirs is not None)
    for layer, (block, named) in enumerate(zip(decoder.blocks, own.blocks, strict=True)):
        for slot, other in zip(block.slots, named.slots, strict=True):
            yield other.weight(layer), slot.view(weights, layer, sizes, _order(other.axes, slot, block)), 0.0
            bias = slot.bias_view(weights, layer, sizes, _order(other.outputs, slot, block))
            if bias is not None:
                yield other.bias_name(layer), bias, 0.0
    for (norm, layer, _), (named_norm, _, _) in zip(decoder.norms(), own.norms(), strict=True):
        for number, (theirs, name) in enumerate(zip(norm.names(layer), named_norm.names(layer), strict=True)):
            yield name, weights[theirs], float(norm.plus_one and number == 0)


def _order(axes: tuple[str, ...], slot: Slot, block: Block) -> str:
    """The axes of format 2 as the slot calls them: one that counts heads may count groups, of one head each."""
    shared = slot in (block.attention.k, block.attention.v)
    named = (slot.heads_axis if shared and axis in ("head", "group") else axis for axis in axes)
    return " ".join(named)

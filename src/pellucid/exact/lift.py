"""From a decoder to its graph. The graph holds structure only; weights are looked up by name when it runs.

| activation | shape |
|---|---|
| `EMB.TOK`, `EMB.POS` | [batch pos model], [1 pos model] |
| `L00.resid_pre`, `L00.resid_mid`, `L00.resid_post` | [batch pos model] |
| `L00.LN1`, `L00.LN2`, `final` | [batch pos model] |
| `L00.qkv` (`L00.q_flat`, … where each has a tensor of its own) | [batch pos 3·model] |
| `L00.q`, `L00.k`, `L00.v`, `L00.z` (k and v: one for each group) | [batch pos head dim] |
| `L00.q_raw`, `L00.q_normed` (also k; before rotary positions and norms of heads) | [batch pos head dim] |
| `L00.keys`, `L00.values` | [batch head key dim] |
| `L00.scores` (before the mask), `L00.pattern` | [batch head query key] |
| `L00.attn_out`, `L00.mlp_out` (`L00.attn_sum`, `L00.mlp_sum` before a norm behind them) | [batch pos model] |
| `L00.pre`, `L00.post` (`L00.up`: what a gate multiplies) | [batch pos neuron] |
| `turns0` (cosines and sines of rotary positions) | [2 batch pos dim] |
| `logits` | [batch pos vocab] |
"""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.exact import ops
from pellucid.exact.graph import Graph, GraphNode
from pellucid.family import seams
from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.rotary import Rotary
from pellucid.family.seams import Letter
from pellucid.family.slots import PART, Slot

INPUTS = ("ids", "positions", "mask", "cache", "pads")
_HEADS: tuple[tuple[Letter, int], ...] = (("q", 0), ("k", 1), ("v", 2))


def lift(decoder: Decoder) -> Graph:
    """The graph of a decoder, from token ids to logits."""
    return Graph(INPUTS, [*_Lift(decoder).nodes()])


def last_resid(decoder: Decoder) -> str:
    """The name of the final residual stream, the sum of all that was written."""
    return seams.at(decoder.layers - 1).resid_post


class _Lift:
    """What the blocks of one decoder share while they become nodes."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.sizes = decoder, decoder.sizes
        found = [block.attention.rotary for block in decoder.blocks if block.attention.rotary]
        self.turns: dict[Rotary, str] = {r: seams.turns(n) for n, r in enumerate(dict.fromkeys(found))}

    def nodes(self) -> Iterator[GraphNode]:
        yield from self._embeddings()
        for layer, block in enumerate(self.decoder.blocks):
            if layer:
                yield GraphNode(seams.at(layer).resid_pre, ops.same, (seams.at(layer - 1).resid_post,))
            yield from self._attention(block.attention, layer)
            if not block.parallel:
                at = seams.at(layer)
                yield GraphNode(at.resid_mid, ops.add, (at.attn_out, at.resid_pre))
            yield from self._mlp(block, layer)
        yield _norm(seams.FINAL, last_resid(self.decoder), self.decoder.final, 0)
        table = self.decoder.unembed or self.decoder.embed
        yield GraphNode(seams.LOGITS, ops.unembed, (seams.FINAL,), (table,), _given(cap=self.decoder.logit_cap))

    def _embeddings(self) -> Iterator[GraphNode]:
        decoder, stream = self.decoder, seams.at(0).resid_pre
        scale = _given(scale=decoder.embed_scale)
        yield GraphNode(seams.TOKENS, ops.embed, ("ids",), (decoder.embed,), scale)
        if decoder.positions is None:
            yield GraphNode(stream, ops.same, (seams.TOKENS,))
        else:
            yield GraphNode(seams.POSITIONS, ops.embed, ("positions",), (decoder.positions,))
            yield GraphNode(stream, ops.add, (seams.TOKENS, seams.POSITIONS))
        for rotary, name in self.turns.items():
            yield GraphNode(name, ops.turns, ("positions",), (), {"rotary": rotary})

    def _attention(self, attention: Attention, layer: int) -> Iterator[GraphNode]:
        at, upcast = seams.at(layer), {"upcast": True} if self.decoder.upcast else {}
        yield _norm(at.norm1, at.resid_pre, attention.norm, layer)
        yield from self._projections(attention, layer)
        yield from self._turned(attention, layer)
        repeat = {"repeat": self.sizes.head // self.sizes.group} if self.decoder.grouped else {}
        for new, held in ((at.k, at.keys), (at.v, at.values)):
            yield GraphNode(held, ops.remember, (new, "cache"), (), {"slot": held} | repeat)
        window = _given(window=attention.window)
        scale = {"scale": attention.scale} | _given(cap=attention.cap) | window
        yield GraphNode(at.scores, ops.scores, (at.q, at.keys), (), scale)
        yield GraphNode(at.pattern, ops.pattern, (at.scores, "mask"), (), window | upcast)
        yield GraphNode(at.z, ops.mix, (at.pattern, at.values), (), window)
        written = at.attn_sum if attention.behind else at.attn_out
        transposed = {} if attention.o.reads_rows else {"transposed": True}
        yield GraphNode(written, ops.write_heads, (at.z,), attention.o.names(layer), transposed)
        if attention.behind:
            yield _norm(at.attn_out, written, attention.behind, layer)

    def _projections(self, attention: Attention, layer: int) -> Iterator[GraphNode]:
        """Queries, keys and values: one multiplication for each stored tensor, then the heads apart."""
        at, slots = seams.at(layer), (attention.q, attention.k, attention.v)
        stored: dict[str, str] = {}
        for (letter, _), slot in zip(_HEADS, slots, strict=True):
            if slot.weight(layer) not in stored:
                stored[slot.weight(layer)] = at.joint if slot.part is not None else at.flat(letter)
                yield _linear(stored[slot.weight(layer)], at.norm1, slot, layer)
        for (letter, _), slot in zip(_HEADS, slots, strict=True):
            changed = letter != "v" and (attention.rotary or attention.head_norms)
            options = {"lengths": tuple(slot.lengths(slot.outputs, self.sizes))}
            part = None if slot.part is None else (slot.outputs.index(PART), slot.part)
            name = at.raw(letter) if changed else at.compared(letter)
            yield GraphNode(name, ops.heads_of, (stored[slot.weight(layer)],), (), options | _given(part=part))

    def _turned(self, attention: Attention, layer: int) -> Iterator[GraphNode]:
        """Queries and keys as they are compared: normed, then turned by their positions."""
        at = seams.at(layer)
        for letter, number in _HEADS[:2]:
            name = at.raw(letter)
            if attention.head_norms:
                normed = at.normed(letter) if attention.rotary else at.compared(letter)
                yield _norm(normed, name, attention.head_norms[number], layer)
                name = normed
            if attention.rotary:
                yield GraphNode(at.compared(letter), ops.rotate, (name, self.turns[attention.rotary]))

    def _mlp(self, block: Block, layer: int) -> Iterator[GraphNode]:
        at, mlp = seams.at(layer), block.mlp
        yield _norm(at.norm2, at.resid_pre if block.parallel else at.resid_mid, mlp.norm, layer)
        yield from _neurons(mlp, layer)
        written = at.mlp_sum if mlp.behind else at.mlp_out
        yield _linear(written, at.post, mlp.write, layer)
        if mlp.behind:
            yield _norm(at.mlp_out, written, mlp.behind, layer)
        if block.parallel:
            yield GraphNode(at.resid_post, ops.both, (at.mlp_out, at.attn_out, at.resid_pre))
        else:
            yield GraphNode(at.resid_post, ops.add, (at.resid_mid, at.mlp_out))


def _neurons(mlp: MLP, layer: int) -> Iterator[GraphNode]:
    at, function = seams.at(layer), {"function": mlp.activation}
    yield _linear(at.pre, at.norm2, mlp.first, layer)
    if mlp.gate is None:
        yield GraphNode(at.post, ops.activate, (at.pre,), (), function)
    else:
        yield _linear(at.up, at.norm2, mlp.read, layer)
        yield GraphNode(at.post, ops.gated, (at.pre, at.up), (), function)


def _norm(name: str, read: str, norm: Norm, layer: int) -> GraphNode:
    if norm.kind == "layer":
        return GraphNode(name, ops.layer_norm, (read,), norm.names(layer), {"epsilon": norm.epsilon})
    one = {"plus_one": True} if norm.plus_one else {}
    return GraphNode(name, ops.rms_norm, (read,), norm.names(layer), {"epsilon": norm.epsilon} | one)


def _linear(name: str, read: str, slot: Slot, layer: int) -> GraphNode:
    return GraphNode(name, ops.linear if slot.reads_rows else ops.linear_transposed, (read,), slot.names(layer))


def _given(**options: object) -> dict[str, object]:
    """The options that are there."""
    return {key: value for key, value in options.items() if value is not None}

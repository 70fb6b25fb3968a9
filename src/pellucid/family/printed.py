"""What the `model.py` of a program says of its model: the features that are printed, and the numbers of `CONFIG`.

`MADE_OF` lists the features: what of all that a decoder may have this one has. `CONFIG` has the numbers that those
need. Programs of format 1, which had those of GPT-2 and no `MADE_OF`, are read too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pellucid.base.errors import PellucidError, SourceError
from pellucid.base.schema import CLOSED, fitting
from pellucid.family.blocks import MLP, Attention, Block, Decoder, Norm
from pellucid.family.canonical import canonical
from pellucid.family.gpt2 import GPT2Config, require_possible
from pellucid.family.gpt2 import decoder as gpt2_decoder
from pellucid.family.possible import require_few
from pellucid.family.rotary import Linear, Llama3, Rotary, Yarn
from pellucid.family.slots import Sizes, Slot

FEATURES: Final = (
    *("layer norm", "rms norm", "learned positions", "rotary", "linear", "llama3", "yarn", "local rotary"),
    *("grouped", "read bias", "attention bias", "neuron bias", "write bias", "head norms", "norms behind", "gated"),
    *("parallel", "window", "local layers", "scales", "score cap", "logit cap", "scaled embedding", "untied"),
)
"""What a decoder may have beside what every one has, in the order in which it is told."""
PLAIN: Final = frozenset(
    {"layer norm", "learned positions", "read bias", "attention bias", "neuron bias", "write bias", "untied", "scales"}
)
"""The features of decoders whose parts can be wires."""
_FORMAT_1: Final = {
    "layers": "n_layer",
    "heads": "n_head",
    "model": "n_embd",
    "neurons": "n_inner",
    "positions": "n_positions",
    "vocabulary": "vocab_size",
    "activation": "activation",
    "layer_norm_epsilon": "layer_norm_epsilon",
    "scale_attn_weights": "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx": "scale_attn_by_inverse_layer_idx",
    "tied": "tied",
}
"""The fields of `CONFIG` in programs of format 1, with their names in `GPT2Config`."""
T = TypeVar("T")


@dataclass(frozen=True)
class Turns:
    """What `Rotary(…)` says in `CONFIG`."""

    __pydantic_config__ = CLOSED

    base: float
    dims: int
    factor: float | None = None
    low: float | None = None
    high: float | None = None
    trained: int | None = None
    amplitude: float | None = None
    fast: float | None = None
    slow: float | None = None
    truncate: bool | None = None

    @property
    def said(self) -> dict[str, object]:
        """The numbers that are there."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Fields:
    """What `CONFIG` says."""

    __pydantic_config__ = CLOSED

    layers: int
    model: int
    heads: int
    dim: int
    neurons: int
    positions: int
    vocabulary: int
    activation: str
    epsilon: float
    groups: int | None = None
    scale: float | None = None
    scales: tuple[float, ...] | None = None
    rotary: Turns | None = None
    local_rotary: Turns | None = None
    window: int | None = None
    local: tuple[int, ...] | None = None
    score_cap: float | None = None
    logit_cap: float | None = None
    embed_scale: float | None = None

    @property
    def said(self) -> dict[str, object]:
        """The numbers that are there."""
        return {key: value for key, value in vars(self).items() if value is not None}


# --- from a decoder to what is printed --------------------------------------------------------------------------------


def features(decoder: Decoder) -> tuple[str, ...]:
    """What of `FEATURES` a decoder has. Raises `PellucidError` for one whose layers differ in what must be alike."""
    first, fields = decoder.blocks[0], fields_of(decoder)
    at, mlp, stretch = first.attention, first.mlp, _stretch(decoder)
    there: dict[str, object] = {
        "layer norm": decoder.final.kind == "layer",
        "rms norm": decoder.final.kind == "rms",
        "learned positions": decoder.positions,
        "rotary": fields.rotary,
        "linear": stretch is Linear,
        "llama3": stretch is Llama3,
        "yarn": stretch is Yarn,
        "local rotary": fields.local_rotary,
        "grouped": decoder.grouped,
        "read bias": at.q.bias,
        "attention bias": at.o.bias,
        "neuron bias": mlp.first.bias,
        "write bias": mlp.write.bias,
        "head norms": at.head_norms,
        "norms behind": at.behind,
        "gated": mlp.gate,
        "parallel": first.parallel,
        "window": fields.window,
        "local layers": fields.local,
        "scales": fields.scales,
        "score cap": at.cap,
        "logit cap": decoder.logit_cap,
        "scaled embedding": decoder.embed_scale,
        "untied": not decoder.tied,
    }
    return tuple(name for name in FEATURES if there[name])


def fields_of(decoder: Decoder) -> Fields:
    """The numbers of `CONFIG`. Raises `PellucidError` for a decoder whose layers differ in what must be alike."""
    sizes, blocks = decoder.sizes, decoder.blocks
    norms = [norm for norm, _, _ in decoder.norms()]
    _alike("kinds of norms", (norm.kind for norm in norms))
    _alike("biases of what heads read", (slot.bias for b in blocks for slot in b.slots[:3]))
    _alike("norms behind attention and MLP", (n is None for b in blocks for n in (b.attention.behind, b.mlp.behind)))
    local = [layer for layer, block in enumerate(blocks) if block.attention.window is not None]
    windows = {block.attention.window for block in blocks} - {None}
    window = _alike("windows", windows) if windows else None
    some = 0 < len(local) < len(blocks)
    everywhere = [b.attention.rotary for n, b in enumerate(blocks) if n not in local or not some]
    near = [blocks[layer].attention.rotary for layer in local if some]
    turns = _alike("rotary positions of layers that see all", everywhere)
    by_window = _alike("rotary positions of layers with a window", near) if near else turns
    scales = [block.attention.scale for block in blocks]
    shown = window if window is not None and window < sizes.pos else None
    return Fields(
        layers=len(blocks),
        model=sizes.model,
        heads=sizes.head,
        groups=sizes.group if decoder.grouped else None,
        dim=sizes.dim,
        neurons=sizes.neuron,
        positions=sizes.pos,
        vocabulary=sizes.vocab,
        activation=_alike("activation functions", (block.mlp.activation for block in blocks)),
        epsilon=_alike("epsilons of norms", (norm.epsilon for norm in norms)),
        scale=scales[0] if len({*scales}) == 1 else None,
        scales=tuple(scales) if len({*scales}) > 1 else None,
        rotary=_turns(turns, turns.stretch) if turns else None,
        local_rotary=_turns(by_window, turns.stretch if turns else None) if by_window and by_window != turns else None,
        window=shown,
        local=tuple(local) if some and (shown or by_window != turns) else None,
        score_cap=_alike("caps of scores", (block.attention.cap for block in blocks)),
        logit_cap=decoder.logit_cap,
        embed_scale=decoder.embed_scale,
    )


def _alike(what: str, found: Iterable[T]) -> T:
    first, *others = dict.fromkeys(found)
    if others:
        raise PellucidError(f"no program can be printed of a model whose layers differ in {what}: {first}, {others[0]}")
    return first


def _stretch(decoder: Decoder) -> type[Linear | Llama3 | Yarn] | None:
    """What stretches rotary positions. Raises `PellucidError` where that is two things."""
    positions = [block.attention.rotary for block in decoder.blocks]
    found = {type(one.stretch) for one in positions if one and one.stretch}
    return _alike("what stretches rotary positions", found) if found else None


def _turns(rotary: Rotary, like: Linear | Llama3 | Yarn | None) -> Turns:
    """The numbers of a rotary embedding; one that is not stretched says so in the terms of one that is."""
    stretch, plain = rotary.stretch or like, rotary.stretch is None
    more: dict[str, Any] = {} if stretch is None else dict(vars(stretch))
    more |= {"factor": 1.0} if plain and more else {}
    more |= {"amplitude": 1.0} if plain and "amplitude" in more else {}
    return Turns(rotary.base, rotary.dims, **more)


# --- from what is printed to a decoder --------------------------------------------------------------------------------


def read(made_of: Sequence[str] | None, said: Mapping[str, Any], path: object) -> Decoder:
    """The decoder that `MADE_OF` and `CONFIG` in the file `path` describe; None for the former is format 1.

    Raises `SourceError` naming `path` for fields of other kinds, `KeyError` and `ValueError` for what describes none.
    """
    if made_of is None:
        config = fitting(GPT2Config, {_FORMAT_1[key]: value for key, value in said.items()}, str(path), SourceError)
        require_possible(config)
        return gpt2_decoder(config)
    if strange := [name for name in made_of if name not in FEATURES]:
        raise ValueError(f"MADE_OF says {strange[0]!r:.60}, expected some of {', '.join(FEATURES)}")
    fields = fitting(Fields, dict(said), str(path), SourceError)
    has = frozenset(made_of)
    _require_fields(fields, has)
    sizes = Sizes(
        *(fields.model, fields.heads, fields.groups or fields.heads, fields.dim),
        *(fields.neurons, fields.vocabulary, fields.positions),
    )
    require_few(fields.layers, sizes, fields.activation, fields.epsilon)
    blocks = tuple(_block(fields, has, layer) for layer in range(fields.layers))
    made = Decoder(
        "printed",
        sizes,
        blocks,
        "EMB.TOK",
        _norm(fields, has),
        unembed="UNEMB" if "untied" in has else None,
        positions="EMB.POS" if "learned positions" in has else None,
        embed_scale=fields.embed_scale,
        logit_cap=fields.logit_cap,
    )
    return canonical(made)


_NEEDED: Final = {
    "grouped": "groups",
    "scales": "scales",
    "rotary": "rotary",
    "local rotary": "local_rotary",
    "window": "window",
    "local layers": "local",
    "score cap": "score_cap",
    "logit cap": "logit_cap",
    "scaled embedding": "embed_scale",
}
"""The fields that features need."""


def _require_fields(fields: Fields, has: frozenset[str]) -> None:
    """Raise `ValueError` where features and fields do not fit."""
    needed = _NEEDED | ({} if "scales" in has else {"": "scale"})
    for feature, name in needed.items():
        if ((feature in has) or not feature) != (getattr(fields, name) is not None):
            raise ValueError(f"CONFIG and MADE_OF do not fit: {name} and {feature or 'what every model has'}")
    numbers = [fields.scale, fields.score_cap, fields.logit_cap, fields.embed_scale, *(fields.scales or ())]
    if not all(n is None or 0 < n < math.inf for n in numbers) or (fields.window or 1) < 1:
        raise ValueError("a scale, a cap or a window is not above 0")
    if len({"layer norm", "rms norm"} & has) != 1 or len({"linear", "llama3", "yarn"} & has) > 1:
        raise ValueError("MADE_OF has not one kind of norms, or several stretched positions")
    if fields.scales is not None and len(fields.scales) != fields.layers:
        raise ValueError(f"there are {len(fields.scales)} scales of {fields.layers} layers")
    for turns in filter(None, (fields.rotary, fields.local_rotary)):
        if not (0 < turns.base < math.inf and 0 < turns.dims <= fields.dim):
            raise ValueError(f"rotary positions turn {turns.dims} of {fields.dim} coordinates")


def _norm(fields: Fields, has: frozenset[str]) -> Norm:
    return Norm("layer" if "layer norm" in has else "rms", "norm", fields.epsilon)


def _block(fields: Fields, has: frozenset[str], layer: int) -> Block:
    norm, slot, local = _norm(fields, has), _Slots(has), fields.local is None or layer in fields.local
    behind = norm if "norms behind" in has else None
    turns = fields.local_rotary if local and "local rotary" in has else fields.rotary
    attention = Attention(
        norm,
        slot.reading("head dim", "read bias"),
        slot.reading("group dim", "read bias"),
        slot.reading("group dim", "read bias"),
        Slot("o", "head dim -> model", bias="attention bias" in has),
        scale=fields.scales[layer] if fields.scales else fields.scale or 1.0,
        rotary=_rotary(turns, has) if turns else None,
        head_norms=(norm, norm) if "head norms" in has else None,
        behind=behind,
        window=fields.window if local else None,
        cap=fields.score_cap,
    )
    into, gate = slot.reading("neuron", "neuron bias"), slot.reading("neuron", "neuron bias")
    write = Slot("out", "neuron -> model", bias="write bias" in has)
    mlp = MLP(norm, into, write, fields.activation, gate if "gated" in has else None, behind)
    return Block(attention, mlp, "parallel" in has)


@dataclass(frozen=True)
class _Slots:
    has: frozenset[str]

    def reading(self, outputs: str, bias: str) -> Slot:
        """A matrix that reads the stream."""
        return Slot("in", f"model -> {outputs}", bias=bias in self.has)


def _rotary(turns: Turns, has: frozenset[str]) -> Rotary:
    """The rotary embedding that `Rotary(…)` describes. Raises `TypeError` for numbers that are missing."""
    own: dict[str, Any] = {key: value for key, value in turns.said.items() if key not in ("base", "dims")}
    kinds: dict[str, type[Linear | Llama3 | Yarn]] = {"linear": Linear, "llama3": Llama3, "yarn": Yarn}
    kind: Any = next((kinds[name] for name in kinds if name in has), None)
    if kind is None and own:
        raise ValueError(f"Rotary has {', '.join(own)}, which nothing in MADE_OF needs")
    stretch: Linear | Llama3 | Yarn | None = kind(**own) if kind else None
    plain = stretch is None or (stretch.factor == 1 and getattr(stretch, "amplitude", 1.0) == 1)
    return Rotary(turns.base, turns.dims, None if plain else stretch)

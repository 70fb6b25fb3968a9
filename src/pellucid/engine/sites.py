"""Sites: which activation a name means, under our addresses or under the names that TransformerLens gave to hooks.

| hook | activation |
|---|---|
| `hook_embed`, `hook_pos_embed` | `EMB.TOK`, `EMB.POS` |
| `blocks.0.hook_resid_pre`, `hook_resid_mid`, `hook_resid_post` | `L00.resid_pre`, `L00.resid_mid`, `L00.resid_post` |
| `blocks.0.ln1.hook_scale`, `ln1.hook_normalized` (also `ln2`) | `L00.LN1.scale`, `L00.LN1` |
| `blocks.0.hook_attn_in`, `hook_mlp_in`, `hook_q_input` (`k`, `v`) | `L00.attn_in`, `L00.mlp_in`, `L00.q_in` |
| `blocks.0.attn.hook_q` (`k`, `v`, `z`), `attn.hook_result` | `L00.q`, `L00.head_writes` |
| `blocks.0.attn.hook_attn_scores`, `attn.hook_pattern` | `L00.scores`, `L00.pattern` |
| `blocks.0.mlp.hook_pre`, `mlp.hook_post` | `L00.pre`, `L00.post` |
| `blocks.0.hook_attn_out`, `hook_mlp_out` | `L00.attn_out`, `L00.mlp_out` |
| where positions turn or queries are normed: `attn.hook_q` (`k`), `attn.hook_rot_q` | `L00.q_raw`, `L00.q` |
| where neurons are gated: `mlp.hook_pre_linear` | `L00.up` |
| where norms stand behind: `ln1_post.hook_normalized` (`ln2_post`) | `L00.attn_out` (`L00.mlp_out`) |
| `ln_final.hook_scale`, `ln_final.hook_normalized` | `final.scale`, `final` |

Weights are never folded here: `hook_normalized` is what a norm puts out, gain and bias included, and scores are those
before the causal mask. Of addresses, QK means scores, OV the head's write, IN the pre-activation (a gated neuron's:
its gate's) and OUT the activation, with which a neuron's vector is written; K and V the keys and values of a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pellucid.base.address import Address
from pellucid.base.axes import BATCH, DIM, HEAD, KEY, MODEL, NEURON, POS, QUERY, VOCAB
from pellucid.base.errors import PellucidError, closest
from pellucid.exact.model import Model
from pellucid.family import seams
from pellucid.family.blocks import Block, Decoder

_STREAM = (BATCH, POS, MODEL)
_PER_HEAD = (BATCH, POS, HEAD, DIM)
_READS = (BATCH, POS, HEAD, MODEL)
_PAIRS = (BATCH, HEAD, QUERY, KEY)
_AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("q", "k", "v", "z", "q_raw", "k_raw", "q_normed", "k_normed"), _PER_HEAD),
    **dict.fromkeys(("q_in", "k_in", "v_in", "head_writes"), _READS),
    **dict.fromkeys(("keys", "values"), (BATCH, HEAD, KEY, DIM)),
    **dict.fromkeys(("scores", "pattern"), _PAIRS),
    **dict.fromkeys(("pre", "up", "post"), (BATCH, POS, NEURON)),
    "logits": (BATCH, POS, VOCAB),
}
"""The axes of an activation by the end of its name; of all others those of the residual stream."""

_HOOKS = {
    "hook_embed": "EMB.TOK",
    "hook_pos_embed": "EMB.POS",
    "ln_final.hook_scale": "final.scale",
    "ln_final.hook_normalized": "final",
}
_BLOCK_HOOKS = {
    **{f"hook_resid_{at}": f"resid_{at}" for at in ("pre", "mid", "post")},
    **{f"{norm}.hook_scale": f"{norm.upper()}.scale" for norm in ("ln1", "ln2")},
    **{f"{norm}.hook_normalized": norm.upper() for norm in ("ln1", "ln2")},
    **{f"attn.hook_{name}": name for name in ("q", "k", "v", "z", "pattern")},
    **{f"hook_{name}_input": f"{name}_in" for name in ("q", "k", "v")},
    **{f"hook_{name}": name for name in ("attn_in", "mlp_in", "attn_out", "mlp_out")},
    **{f"mlp.hook_{name}": name for name in ("pre", "post")},
    "attn.hook_attn_scores": "scores",
    "attn.hook_result": "head_writes",
}
_PARTS = {"QK": "scores", "OV": "head_writes", "IN": "pre", "OUT": "post", "K": "k", "V": "v"}
_NORMS = {"QN": "q_normed", "KN": "k_normed", "ATTN.LN": "attn_out", "MLP.LN": "mlp_out"}
_WHOLE = {"LNF": "final", "UNEMB": "logits", "EMB.TOK": "EMB.TOK", "EMB.POS": "EMB.POS"}


@dataclass(frozen=True)
class Site:
    """An activation, or those of its heads or neurons that `members` lists (an address: exactly one)."""

    activation: str
    members: tuple[int, ...] | None = None
    single: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of its axes, as `base/axes.py` lists them."""
        return axes(self.activation)

    def __str__(self) -> str:
        return self.activation if self.members is None else f"{self.activation}{list(self.members)}"


def axes(activation: str) -> tuple[str, ...]:
    """The names of an activation's axes."""
    return _AXES.get(activation.rpartition(".")[2], _STREAM)


def is_constant(activation: str) -> bool:
    """Whether an activation is the same in all rows and at all positions: a bias."""
    return activation.endswith((".ATTN.B", ".MLP.B"))


def embeddings(decoder: Decoder) -> tuple[str, ...]:
    """The activations that the stream begins with."""
    return (seams.TOKENS,) if decoder.positions is None else (seams.TOKENS, seams.POSITIONS)


def listed(where: str | Iterable[str]) -> list[str]:
    """One name or several, as a list."""
    return [where] if isinstance(where, str) else list(where)


def heads_write(model: Model) -> str:
    """The activation that has all that heads write: `z`, or `head_writes` where not all goes through the weights."""
    return "head_writes" if "L00.head_writes" in model.graph else "z"


def hooks(model: Model) -> dict[str, str]:
    """Every hook name that is understood, and the activation it means."""
    once = {hook: name for hook, name in _HOOKS.items() if name != "EMB.POS" or model.decoder.positions}
    blocks = {
        f"blocks.{layer}.{hook}": f"L{layer:02d}.{name}"
        for layer, block in enumerate(model.decoder.blocks)
        for hook, name in _hooks_of(block).items()
    }
    return once | blocks


def hook_of(activation: str) -> str | None:
    """The hook that TransformerLens has for an activation of a plain block; None where it has none."""
    layer, _, name = activation.partition(".")
    own = next((hook for hook, held in _BLOCK_HOOKS.items() if held == name), None)
    if own is None or not re.fullmatch(r"L\d+", layer):
        return next((hook for hook, held in _HOOKS.items() if held == activation), None)
    return f"blocks.{int(layer[1:])}.{own}"


def _hooks_of(block: Block) -> dict[str, str]:
    """The hooks of a layer: TransformerLens calls queries `hook_q` before they are normed and turned."""
    attention, mlp, found = block.attention, block.mlp, dict(_BLOCK_HOOKS)
    if attention.rotary or attention.head_norms:
        found |= {f"attn.hook_{letter}": f"{letter}_raw" for letter in "qk"}
    if attention.rotary:
        found |= {f"attn.hook_rot_{letter}": letter for letter in "qk"}
    if mlp.gate:
        found["mlp.hook_pre_linear"] = "up"
    if attention.behind:
        found["ln1_post.hook_normalized"] = "attn_out"
    if mlp.behind:
        found["ln2_post.hook_normalized"] = "mlp_out"
    if block.parallel:
        del found["hook_resid_mid"]
    return found


def resolve(model: Model, where: str) -> list[Site]:
    """The sites that `where` means: an address, an activation, a hook name, or a pattern of them with `*`.

    Addresses of one activation are joined to one site. Raises `PellucidError` naming near misses for anything else.
    """
    hooked = hooks(model)
    if "hook_" in where:
        found = [name for hook, name in hooked.items() if hook == where or fnmatchcase(hook, where)]
        if found:
            return [Site(name) for name in found]
        raise _unknown(model, where)
    graph = model.graph
    if names := graph.names(where) or [name for name in model.inner if fnmatchcase(name, where)]:
        return [Site(name) for name in names]
    if not re.fullmatch(r"[A-Z0-9.*]+", where):
        raise _unknown(model, where)
    try:
        return of_addresses(model.decoder.addresses.match(where))
    except PellucidError:
        raise _unknown(model, where) from None


def of_addresses(addresses: Iterable[Address]) -> list[Site]:
    """The sites of `addresses`, those of one activation joined, in order of execution."""
    chosen = list(addresses)
    members: dict[str, list[int] | None] = {}
    for address in chosen:
        if address.kind in _PARTS:
            held = members.setdefault(f"L{address.layer:02d}.{_PARTS[address.kind]}", [])
            assert held is not None
            held.append(address.index)
        else:
            norm = _NORMS.get(address.kind)
            own = str(address) if norm is None else f"L{address.layer:02d}.{norm}"
            members[_WHOLE.get(address.kind, own)] = None
    return [Site(name, None if held is None else tuple(held), len(chosen) == 1) for name, held in members.items()]


def _unknown(model: Model, where: str) -> PellucidError:
    """The error for a name that means nothing here."""
    shape = model.decoder.addresses
    layers = range(shape.layers)
    parts = [
        f"L{layer:02d}.H{head:02d}.{kind}" for layer in layers for head in range(shape.heads) for kind in ("QK", "OV")
    ]
    asked = re.search(r"N(\d+)", where)
    neuron = min(int(asked[1]) if asked else 0, shape.neurons - 1)
    parts += [f"L{layer:02d}.N{neuron:04d}.{kind}" for layer in layers for kind in ("IN", "OUT")]
    known = [*hooks(model), *model.graph.names(), *model.inner, *parts, *_WHOLE]
    near = closest(where, known) or "; names look like L03.H01.OV, L03.N1024.OUT, L03.pattern, blocks.3.hook_resid_post"
    size = f"{shape.layers} layers of {shape.heads} heads and {shape.neurons} neurons"
    return PellucidError(f"{where!r} names nothing in {model.subject.name} ({size}){near}")

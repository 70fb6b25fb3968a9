"""From a GPT-2 config to its graph. The graph holds structure only; weights are looked up by name when it runs.

| activation | shape |
|---|---|
| `EMB.TOK`, `EMB.POS` | [batch pos model], [1 pos model] |
| `L00.resid_pre`, `L00.resid_mid`, `L00.resid_post` | [batch pos model] |
| `L00.LN1`, `L00.LN2`, `final` | [batch pos model] |
| `L00.qkv` | [batch pos 3·model] |
| `L00.q`, `L00.k`, `L00.v`, `L00.z` | [batch pos head dim] |
| `L00.keys`, `L00.values` | [batch head key dim] |
| `L00.scores` (before the mask), `L00.pattern` | [batch head query key] |
| `L00.attn_out`, `L00.mlp_out` | [batch pos model] |
| `L00.pre`, `L00.post` | [batch pos neuron] |
| `logits` | [batch pos vocab] |
"""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.exact import ops
from pellucid.exact.graph import Graph, Node
from pellucid.family.gpt2 import GPT2Config

INPUTS = ("ids", "positions", "mask", "cache", "pads")


def lift(config: GPT2Config) -> Graph:
    """The graph of a GPT-2 subject, from token ids to logits."""
    epsilon = {"epsilon": config.layer_norm_epsilon}
    nodes = [
        Node("EMB.TOK", ops.embed, ("ids",), ("wte.weight",)),
        Node("EMB.POS", ops.embed, ("positions",), ("wpe.weight",)),
        Node("L00.resid_pre", ops.add, ("EMB.TOK", "EMB.POS")),
    ]
    for layer in range(config.n_layer):
        if layer:
            nodes.append(Node(f"L{layer:02d}.resid_pre", ops.same, (f"L{layer - 1:02d}.resid_post",)))
        nodes += _attention(config, layer)
        nodes += _mlp(config, layer)
    table = "wte.weight" if config.tied else "lm_head.weight"
    nodes += [
        Node("final", ops.layer_norm, (last_resid(config),), ("ln_f.weight", "ln_f.bias"), epsilon),
        Node("logits", ops.unembed, ("final",), (table,)),
    ]
    return Graph(INPUTS, nodes)


def last_resid(config: GPT2Config) -> str:
    """The name of the final residual stream, the sum of all that was written."""
    return f"L{config.n_layer - 1:02d}.resid_post"


def _attention(config: GPT2Config, layer: int) -> Iterator[Node]:
    at, block = f"L{layer:02d}", f"h.{layer}"
    norm = {"epsilon": config.layer_norm_epsilon}
    yield Node(f"{at}.LN1", ops.layer_norm, (f"{at}.resid_pre",), (f"{block}.ln_1.weight", f"{block}.ln_1.bias"), norm)
    weight, bias = f"{block}.attn.c_attn.weight", f"{block}.attn.c_attn.bias"
    yield Node(f"{at}.qkv", ops.linear, (f"{at}.LN1",), (weight, bias))
    for part, name in enumerate("qkv"):
        yield Node(f"{at}.{name}", ops.part_of_heads, (f"{at}.qkv",), (), {"part": part, "heads": config.n_head})
    for new, held in (("k", "keys"), ("v", "values")):
        yield Node(f"{at}.{held}", ops.remember, (f"{at}.{new}", "cache"), (), {"slot": f"{at}.{held}"})
    yield Node(f"{at}.scores", ops.scores, (f"{at}.q", f"{at}.keys"), (), {"scale": config.attention_scale(layer)})
    yield Node(f"{at}.pattern", ops.pattern, (f"{at}.scores", "mask"))
    yield Node(f"{at}.z", ops.mix, (f"{at}.pattern", f"{at}.values"))
    weight, bias = f"{block}.attn.c_proj.weight", f"{block}.attn.c_proj.bias"
    yield Node(f"{at}.attn_out", ops.write_heads, (f"{at}.z",), (weight, bias))
    yield Node(f"{at}.resid_mid", ops.add, (f"{at}.attn_out", f"{at}.resid_pre"))


def _mlp(config: GPT2Config, layer: int) -> Iterator[Node]:
    at, block = f"L{layer:02d}", f"h.{layer}"
    norm = {"epsilon": config.layer_norm_epsilon}
    yield Node(f"{at}.LN2", ops.layer_norm, (f"{at}.resid_mid",), (f"{block}.ln_2.weight", f"{block}.ln_2.bias"), norm)
    yield Node(f"{at}.pre", ops.linear, (f"{at}.LN2",), (f"{block}.mlp.c_fc.weight", f"{block}.mlp.c_fc.bias"))
    yield Node(f"{at}.post", ops.activate, (f"{at}.pre",), (), {"function": config.activation})
    weight, bias = f"{block}.mlp.c_proj.weight", f"{block}.mlp.c_proj.bias"
    yield Node(f"{at}.mlp_out", ops.linear, (f"{at}.post",), (weight, bias))
    yield Node(f"{at}.resid_post", ops.add, (f"{at}.resid_mid", f"{at}.mlp_out"))

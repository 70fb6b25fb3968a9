"""Names of activations: the one place where `L02.resid_mid` is spelled.

`seams.at(2).resid_mid`, `seams.FINAL`. In a layer:

| name | what it is | axes |
|---|---|---|
| `resid_pre`, `resid_mid`, `resid_post` | the stream before, between and behind attention and MLP | [batch pos model] |
| `norm1`, `norm2` | what attention and MLP read | [batch pos model] |
| `joint` | queries, keys and values together, where one tensor holds their weights | [batch pos joint] |
| `q`, `k`, `v`, `z` | queries and keys as they are compared, values, and their mixture | [batch pos head dim] |
| `raw("q")`, `normed("q")` | queries (or keys) before they turn, and before they are normed | [batch pos head dim] |
| `keys`, `values` | of all positions that are remembered, for each head | [batch head key dim] |
| `scores` (before the mask), `pattern` | | [batch head query key] |
| `attn_sum`, `mlp_sum` | what heads, or neurons, write, before a norm behind them | [batch pos model] |
| `attn_out`, `mlp_out` | what is added to the stream | [batch pos model] |
| `pre`, `up`, `post` | before the activation function, what a gate multiplies, activation | [batch pos neuron] |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TOKENS, POSITIONS, FINAL, LOGITS = "EMB.TOK", "EMB.POS", "final", "logits"
"""Embeddings of tokens and positions, what the last norm puts out, and what is said."""

Letter = Literal["q", "k", "v"]


class _Seam:
    """A name in a layer: `L02.` and its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, at: At, owner: type[At]) -> str:
        return at.named(self.name)


@dataclass(frozen=True)
class At:
    """The names of the activations of one layer."""

    layer: int

    resid_pre, resid_mid, resid_post = _Seam("resid_pre"), _Seam("resid_mid"), _Seam("resid_post")
    norm1, norm2, joint = _Seam("LN1"), _Seam("LN2"), _Seam("qkv")
    q, k, v, z = _Seam("q"), _Seam("k"), _Seam("v"), _Seam("z")
    keys, values, scores, pattern = _Seam("keys"), _Seam("values"), _Seam("scores"), _Seam("pattern")
    attn_sum, attn_out, mlp_sum, mlp_out = _Seam("attn_sum"), _Seam("attn_out"), _Seam("mlp_sum"), _Seam("mlp_out")
    pre, up, post = _Seam("pre"), _Seam("up"), _Seam("post")

    def named(self, name: str) -> str:
        """The activation of that name in this layer."""
        return f"L{self.layer:02d}.{name}"

    def compared(self, letter: Letter) -> str:
        """Queries, keys or values as attention takes them."""
        return self.named(letter)

    def flat(self, letter: Letter) -> str:
        """Queries, keys or values of all heads in one row, where each has a tensor of its own."""
        return self.named(f"{letter}_flat")

    def raw(self, letter: Letter) -> str:
        """Queries or keys before they are normed and turned."""
        return self.named(f"{letter}_raw")

    def normed(self, letter: Letter) -> str:
        """Queries or keys behind their norm, before they turn."""
        return self.named(f"{letter}_normed")


def at(layer: int) -> At:
    """The names of `layer`."""
    return At(layer)


def turns(number: int) -> str:
    """Cosines and sines of the positions, of the rotary embedding of that number."""
    return f"turns{number}"

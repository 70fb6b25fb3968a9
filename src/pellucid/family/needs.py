"""What of a decoder a piece of work does not understand yet: it says so by name, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from pellucid.base.errors import PellucidError
from pellucid.family.blocks import Decoder

Switch = (
    Literal["groups", "rotary", "head norms", "norms behind", "parallel", "logit cap"]
    | Literal["gates", "no centre", "no biases", "windows", "score cap", "scaled embedding"]
)

SWITCHES: Final[dict[Switch, tuple[str, Callable[[Decoder], object]]]] = {
    "groups": ("several heads share keys and values", lambda d: d.grouped),
    "rotary": ("positions turn queries and keys", lambda d: d.blocks[0].attention.rotary),
    "head norms": ("queries and keys are normed", lambda d: d.blocks[0].attention.head_norms),
    "norms behind": ("what layers write is normed", lambda d: d.blocks[0].attention.behind or d.blocks[0].mlp.behind),
    "parallel": ("attention and MLP read the same stream", lambda d: d.blocks[0].parallel),
    "logit cap": ("logits are held within a cap", lambda d: d.logit_cap),
    "gates": ("neurons are gated", lambda d: d.blocks[0].mlp.gate),
    "no centre": ("norms do not centre", lambda d: d.final.kind == "rms"),
    "no biases": ("what reads or writes has no biases", lambda d: not all(slot.bias for slot in d.blocks[0].slots)),
    "windows": ("layers see a window alone", lambda d: any(block.attention.window for block in d.blocks)),
    "score cap": ("scores are held within a cap", lambda d: d.blocks[0].attention.cap),
    "scaled embedding": ("embeddings are scaled", lambda d: d.embed_scale),
}
"""What each switch means, and whether a decoder has it."""


def present(decoder: Decoder, *switches: Switch) -> list[str]:
    """What of `switches` the decoder has, in words."""
    return [SWITCHES[switch][0] for switch in switches if SWITCHES[switch][1](decoder)]


def hindered(decoder: Decoder, work: str, *switches: Switch) -> str:
    """Which of `switches` keep `work` from the decoder, in words; empty where none does."""
    there = present(decoder, *switches)
    return f"{work} cannot serve {decoder.family} yet: {'; '.join(there)}" if there else ""


def refuse(decoder: Decoder, work: str, *switches: Switch) -> None:
    """Raise `PellucidError` saying which of `switches` keeps `work` from this decoder."""
    if said := hindered(decoder, work, *switches):
        raise PellucidError(said)

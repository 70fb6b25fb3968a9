"""Prompts cut to the ends that decide, so that what a reader is shown tells as little else as possible.

A whole story before each question teaches whoever reads a hundred of them the model's text, and what is asked of one is
told by another. The end of a text behind which the model is as sure of the same is asked about in its place. Where it
hesitates between tokens nothing is asked: which one comes out ahead is no matter of understanding.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.accounts.prompts import Prompt, likeliest
from pellucid.exact.model import Model

SURE = 0.5
"""How likely the model's next token is, at least."""
LENGTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""Tokens of the ends that are tried; the shortest is as long as a prompt has to be."""


def cut(model: Model, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Of prompts behind which the model is sure, the shortest end behind which, and behind all longer ones, it is too.

    It must say the same token behind all of them.
    """
    own = likeliest(model, prompts)
    left = [at for at, (_, share) in enumerate(own) if share >= SURE]
    kept = {at: prompts[at] for at in left}
    for length in reversed(LENGTHS):
        ends = {at: end for at in left if (end := _end(model, prompts[at], length))}
        tokens = dict(zip(ends, likeliest(model, list(ends.values())), strict=True))
        same = {at for at, (token, share) in tokens.items() if token == own[at][0] and share >= SURE}
        kept |= {at: ends[at] for at in same}
        left = [at for at in left if at in same or at not in ends]
    return list(kept.values())


def _end(model: Model, prompt: Prompt, length: int) -> Prompt | None:
    """The last `length` tokens of a prompt by themselves; None where that is all of it, begins within a word,
    or would be cut into other tokens.
    """
    opening, last = list(model.tokenizer.opening), prompt.ids[-length:]
    if length >= len(prompt.ids) - len(opening):
        return None
    text = model.tokenizer.decode(last)
    ids, before = model.tokenizer.opened(text), prompt.text.removesuffix(text)
    if ids != [*opening, *last] or (before[-1:].isalnum() and text[:1].isalnum()):
        return None
    return Prompt(text, ids, prompt.hard)

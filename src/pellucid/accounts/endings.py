"""Prompts cut to the ends that decide, so that what a reader is shown tells as little else as possible.

A whole story before each question teaches whoever reads a hundred of them the model's text, and what is asked of one is
told by another. The end of a text behind which the model is as sure of the same is asked about in its place. Where it
hesitates between tokens nothing is asked: which one comes out ahead is no matter of understanding.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.accounts.language import STOP
from pellucid.accounts.prompts import Prompt, likeliest
from pellucid.exact.model import Model

SURE = 0.5
"""How likely the model's next token is, at least."""
LEAST = 4
"""Tokens of a prompt."""
SENTENCES = 16
"""Sentences of an end, at most, unless it is the whole."""


def cut(model: Model, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Of prompts behind which the model is sure, the fewest last sentences behind which it is as well.

    It must be so behind them and behind each of them that is more, and say the same token.
    """
    own = likeliest(model, prompts)
    left = [at for at, (_, share) in enumerate(own) if share >= SURE]
    kept = {at: prompts[at] for at in left}
    starts = {at: _starts(model, prompts[at]) for at in left}
    for turn in range(SENTENCES):
        ends = {
            at: end for at in left if turn < len(starts[at]) and (end := _end(model, prompts[at], starts[at][turn]))
        }
        tokens = dict(zip(ends, likeliest(model, list(ends.values())), strict=True))
        same = {at for at, (token, share) in tokens.items() if token == own[at][0] and share >= SURE}
        kept |= {at: ends[at] for at in same}
        left = [at for at in left if at in same or at not in ends]
    return list(kept.values())


def _starts(model: Model, prompt: Prompt) -> list[int]:
    """Where the last sentences of a prompt begin, as the language of accounts knows them, the first one first."""
    pieces = [model.tokenizer.decode([token]) for token in prompt.ids]
    found = [at for at in range(1, len(pieces)) if STOP.search(pieces[at - 1])]
    return [at for at in found if len(pieces) - at >= LEAST][-SENTENCES:]


def _end(model: Model, prompt: Prompt, start: int) -> Prompt | None:
    """The tokens of a prompt from `start` on by themselves; None where they would be cut into other tokens."""
    last = prompt.ids[start:]
    text = model.tokenizer.decode(last)
    ids = model.tokenizer.opened(text)
    return Prompt(text, ids, prompt.hard) if ids == [*model.tokenizer.opening, *last] else None

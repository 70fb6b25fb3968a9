"""What the subject itself says at temperature 0, and where a program would first depart from it.

Up to its first slip a program's greedy continuation is the subject's own, so one teacher-forced pass over the subject's
continuations tells exactly where each first slip would be, at a fraction of the cost of decoding. Counting every word
from the slip on as wrong bounds the word error rates from above (insertions aside), which is what linking needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.exact.decode import greedy
from pellucid.exact.model import Model
from pellucid.forms.twin import Twin

WORDS = 16


@dataclass(frozen=True)
class Rollouts:
    """Contexts of one length with the subject's continuations behind them.

    `words[row, i]` is the number of the word (from 0) that the continuation's i-th token belongs to; tokens from the
    17th word on are numbered 16 and do not count.
    """

    ids: Int[Tensor, "batch pos"]
    context: int
    words: Int[Tensor, "batch produced"]


def roll(model: Model, contexts: Int[Tensor, "batch pos"], tokens: int, starts: Bool[Tensor, " vocab"]) -> Rollouts:
    """Continue `contexts` by `tokens` tokens; `starts` says which tokens begin a word (white space first)."""
    with torch.inference_mode():
        produced = greedy(model, contexts, tokens).to(contexts.device)
    begins = starts[produced].long()
    begins[:, 0] = 0
    words = begins.cumsum(1).clamp(max=WORDS)
    return Rollouts(torch.cat([contexts, produced], 1), contexts.shape[1], words)


@dataclass(frozen=True)
class Slips:
    """Upper bounds, in percent of words, of how far a program departs from the subject on some rollouts.

    Lower ones where it was given up before all were read, `whole` being false: of the whole, what was wrong till then.
    """

    wer_next: float
    wer_16: float
    contexts: int
    whole: bool = True


def slips(
    twin: Twin, rollouts: list[Rollouts], batch: int = 32, hopeless: Callable[[Slips], bool] = lambda _: False
) -> Slips:
    """Find every first slip of `twin` on `rollouts`, until what was found is `hopeless` whatever comes."""
    contexts = sum(len(group.ids) for group in rollouts)
    words = sum(int((_last(group.words) + 1).sum()) for group in rollouts)
    first_word, wrong, found = 0, 0, Slips(0.0, 0.0, contexts)
    for group in rollouts:
        for start in range(0, len(group.ids), batch):
            ids, numbers = group.ids[start : start + batch], group.words[start : start + batch]
            with torch.inference_mode():
                said = twin.logits(ids[:, :-1])[:, group.context - 1 :].argmax(-1).to(ids.device)
            slipped = (said != ids[:, group.context :]) & (numbers < WORDS)
            after = slipped.cumsum(1) > 0
            at = torch.where(after, numbers, WORDS).amin(1)
            wrong += int((_last(numbers) - at + 1).clamp(min=0).sum())
            first_word += int((at == 0).sum())
            found = Slips(100 * first_word / contexts, 100 * wrong / words, contexts)
            if hopeless(found):
                return replace(found, whole=False)
    return found


def _last(words: Int[Tensor, "batch produced"]) -> Int[Tensor, " batch"]:
    """The number of the last word that counts of each continuation."""
    return words.clamp(max=WORDS - 1).amax(1)

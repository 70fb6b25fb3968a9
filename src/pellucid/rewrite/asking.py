"""Asking a program what a table asks: which answer it gives about a key, in how many wordings, and how surely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.accounts.answers import LONGEST, WordTokens, after_lead, ends, leads, text_of
from pellucid.base.errors import PellucidError
from pellucid.subject.tokenizer import Tokenizer

Logits = Callable[[Int[Tensor, "row pos"]], Float[Tensor, "row pos vocab"]]


@dataclass(frozen=True)
class KeyAnswer:
    """What a program answers about a key: the answer of most wordings, in how many of them, and by what margin.

    The margin is what its first token is ahead of the runner-up, in nats, on average over these wordings.
    """

    text: str
    said: int
    of: int
    margin: float

    @property
    def agreement(self) -> float:
        """The share of wordings that give it."""
        return self.said / self.of


def answer_of(
    logits: Logits,
    prompts: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    known: Collection[str],
    beside: Sequence[Sequence[int]] = (),
) -> KeyAnswer:
    """The answer behind `prompts`, in tokens, of which there is one at least.

    One of the `known` answers, the longest that is said. What is none of these ends where answers do behind prompts
    `beside` them, which ask the same of others; without such, where its first word ends.
    """
    spelled = {text: ids for text in known for ids in [said_ids(tokenizer, text)] if ids}
    said, margins = _continued(logits, prompts, tokenizer)
    texts = [_told(row, spelled) for row in said]
    if not all(texts):
        others = _continued(logits, beside, tokenizer)[0] if beside else []
        texts = [text or _ended(row, others, tokenizer) for text, row in zip(texts, said, strict=True)]
    best = Counter(texts).most_common(1)[0][0]
    ahead = [margin for text, margin in zip(texts, margins, strict=True) if text == best]
    return KeyAnswer(best, len(ahead), len(prompts), sum(ahead) / len(ahead))


def gives(logits: Logits, prompts: Sequence[Sequence[int]], tokenizer: Tokenizer, answers: Sequence[str]) -> list[bool]:
    """Whether the answer to each of `prompts`, in tokens, is that of `answers`, each token behind those before."""
    if not prompts:
        return []
    spelled = [said_ids(tokenizer, text) for text in answers]
    ids, _ = _padded([[*row, *said] for row, said in zip(prompts, spelled, strict=True)])
    top = logits(ids).argmax(-1)
    sides = zip(top, prompts, spelled, strict=True)
    return [bool(said) and row[len(own) - 1 :][: len(said)].tolist() == list(said) for row, own, said in sides]


def said_ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """The tokens of an answer behind a word; none of one that cannot be said."""
    apart = tokenizer.kind == "bpe" and text[:1].isalnum()
    try:
        return tuple(tokenizer.encode(f" {text}" if apart else text))
    except PellucidError:
        return ()


def _continued(
    logits: Logits, prompts: Sequence[Sequence[int]], tokenizer: Tokenizer
) -> tuple[list[list[int]], list[float]]:
    """The likeliest tokens behind each prompt, up to an end of the text, and how far the first leads the runner-up."""
    rows = [list(prompt) for prompt in prompts]
    margins: list[float] = []
    for _ in range(LONGEST):
        ids, at = _padded(rows)
        last = logits(ids)[torch.arange(len(rows)), at]
        two = last.topk(2).values
        margins = margins or (two[:, 0] - two[:, 1]).tolist()
        for row, token in zip(rows, last.argmax(-1).tolist(), strict=True):
            row.append(token)
    said = [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
    stops = [next((at + 1 for at, token in enumerate(row) if token in tokenizer.ends), len(row)) for row in said]
    return [row[:stop] for row, stop in zip(said, stops, strict=True)], margins


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "row pos"], Int[Tensor, " row"]]:
    """Rows of tokens, padded, and the position of the last token of each."""
    ends = torch.tensor([len(row) - 1 for row in rows])
    ids = torch.zeros((len(rows), int(ends.max()) + 1), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    return ids, ends


def _told(said: Sequence[int], spelled: dict[str, tuple[int, ...]]) -> str:
    """The longest known answer that is said; empty if none is."""
    fitting = [text for text, ids in spelled.items() if tuple(said[: len(ids)]) == ids]
    return max(fitting, key=lambda text: len(spelled[text]), default="")


def _ended(said: Sequence[int], others: Sequence[Sequence[int]], tokenizer: Tokenizer) -> str:
    """What is said up to where answers end."""
    words, rows = WordTokens(tokenizer), [said, *others]
    if not others:
        return text_of(tokenizer, said[: next(iter(words.breaks(said)), len(said))])
    starts = after_lead(rows, leads(rows, words))
    return text_of(tokenizer, said[: ends(rows, starts, words)[0]])

"""Questions whose answers no other question tells: whoever reads a hundred texts learns how they go on.

What a reader would guess who knows nothing but the other texts: what follows there where the same three tokens stand,
else where two of them do. A question is left out if that is its answer, or if its text would give away another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pellucid.accounts.prompts import Prompt

SPAN = 3
"""Tokens at the end of a text that are compared, of which one may be another."""
Window = tuple[int | None, ...]


def apart(prompts: Sequence[Prompt], answers: Sequence[int], n: int, texts: Sequence[Prompt] = ()) -> list[Prompt]:
    """The first `n` of `prompts` that neither `texts` nor each other tell; fewer where there are not so many."""
    known, chosen = _Texts(), list[tuple[Prompt, int]]()
    for text in texts:
        known.add(text)
    for prompt, answer in zip(prompts, answers, strict=True):
        if len(chosen) == n:
            break
        if known.tell(prompt, answer):
            continue
        known.add(prompt)
        if any(known.tell(other, right, but=other) for other, right in chosen):
            known.add(prompt, -1)
        else:
            chosen.append((prompt, answer))
    return [prompt for prompt, _ in chosen]


class _Texts:
    """What follows what in some texts."""

    def __init__(self) -> None:
        self.follows: dict[Window, Counter[int]] = {}

    def add(self, prompt: Prompt, times: int = 1) -> None:
        """Take in a text, or with −1 take it out again."""
        for window, after in _seen(prompt):
            self.follows.setdefault(window, Counter())[after] += times

    def tell(self, prompt: Prompt, answer: int, but: Prompt | None = None) -> bool:
        """Whether the answer is what most often follows such an end, without the text `but`."""
        own = Counter(_seen(but)) if but else Counter[tuple[Window, int]]()
        exact, *alike = _windows(prompt.ids[-SPAN:])
        for windows in ([exact], alike):
            counts: Counter[int] = Counter()
            for window in windows:
                for after, count in self.follows.get(window, {}).items():
                    counts[after] += count - own[window, after]
            most = max(counts.values(), default=0)
            if most > 0:
                return counts[answer] == most
        return False


def _seen(prompt: Prompt) -> Iterator[tuple[Window, int]]:
    """The windows of a text, each with the token behind it."""
    for at in range(SPAN, len(prompt.ids)):
        for window in _windows(prompt.ids[at - SPAN : at]):
            yield window, prompt.ids[at]


def _windows(tokens: Sequence[int]) -> list[Window]:
    """The tokens as they are, and with each of them left open."""
    return [tuple(tokens), *((*tokens[:at], None, *tokens[at + 1 :]) for at in range(len(tokens)))]

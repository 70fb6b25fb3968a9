"""Prompts of questions for readers, and what the model says behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pellucid.accounts.measure import BATCH
from pellucid.base.work import mapped
from pellucid.engine.intervene import Change
from pellucid.engine.trace import trace
from pellucid.exact.model import Model

CHOICE = 8
"""Prompts of a question about what an intervention changes."""
Question = tuple[dict[str, Any], dict[str, Any]]
"""What is asked, and what is right."""


@dataclass(frozen=True)
class Prompt:
    """A text that the model goes on with, and whether its end is a hard position."""

    text: str
    ids: list[int]
    hard: bool = False

    @staticmethod
    def of(model: Model, text: str) -> Prompt:
        """`text` by itself."""
        return Prompt(text, model.tokenizer.opened(text)[-model.n_ctx :])


def shown(
    changed: Sequence[Prompt], others: Sequence[Prompt], generator: torch.Generator
) -> tuple[list[str], list[int]]:
    """The texts of prompts in random order, some that change and others, and the numbers of those that do."""
    every = [*((prompt, True) for prompt in changed), *((prompt, False) for prompt in others)]
    mixed = [every[at] for at in torch.randperm(len(every), generator=generator).tolist()]
    return [prompt.text for prompt, _ in mixed], [number for number, (_, is_so) in enumerate(mixed, start=1) if is_so]


def said(model: Model, prompts: Sequence[Prompt], changes: Sequence[Change] = ()) -> list[int]:
    """The model's likeliest next token behind each prompt, with `changes` made."""
    return [token for token, _ in likeliest(model, prompts, changes)]


def likeliest(model: Model, prompts: Sequence[Prompt], changes: Sequence[Change] = ()) -> list[tuple[int, float]]:
    """The same, with how likely it is."""
    size = max(1, BATCH // model.n_ctx)
    batches = [prompts[at : at + size] for at in range(0, len(prompts), size)]

    def tokens(batch: Sequence[Prompt]) -> list[tuple[int, float]]:
        run = trace(model, [prompt.ids for prompt in batch], changes=changes)
        most = run.logits[:, -1].softmax(-1).max(-1)
        return list(zip(most.indices.tolist(), most.values.tolist(), strict=True))

    with torch.no_grad():
        return [found for own in mapped(tokens, batches, "asking the model") for found in own]

"""What the engine runs: an exact model, or a program that puts something else in place of parts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model


@runtime_checkable
class Program(Protocol):
    """A model with replacements: what a decompiled program is to the engine."""

    @property
    def model(self) -> Model:
        """The exact model that everything that is not replaced runs in."""
        ...

    def edits(self, ids: Int[Tensor, "batch pos"]) -> Mapping[str, Edit]:
        """What takes the place of activations, by name, when whole rows `ids` are run."""
        ...


Subject = Model | Program
"""What every verb of the engine takes first."""
Text = str | Sequence[str] | Int[Tensor, "_ _"]
"""A prompt, several of the same number of tokens, or token ids."""


def model_of(subject: Subject) -> Model:
    """The exact model behind `subject`."""
    return subject if isinstance(subject, Model) else subject.model


def edits_of(subject: Subject, ids: Int[Tensor, "batch pos"]) -> Mapping[str, Edit]:
    """What `subject` puts in place of the exact model's activations on `ids`."""
    return {} if isinstance(subject, Model) else subject.edits(ids)


def ids_of(model: Model, text: Text) -> Int[Tensor, "batch pos"]:
    """The tokens of one or several prompts. Raises `PellucidError` quoting two prompts of different lengths."""
    if isinstance(text, Tensor):
        if text.ndim != 2 or not text.numel():
            raise PellucidError(f"token ids have shape {list(text.shape)}, expected [batch, pos] with some of each")
        return text.to(model.device)
    prompts = [text] if isinstance(text, str) else list(text)
    if not prompts:
        raise PellucidError("there is no prompt; give at least one")
    rows = [model.ids(prompt) for prompt in prompts]
    for prompt, row in zip(prompts, rows, strict=True):
        if row.shape[1] != rows[0].shape[1]:
            raise PellucidError(
                f"prompts must have the same number of tokens: {prompts[0]!r} has {rows[0].shape[1]}, {prompt!r} "
                f"has {row.shape[1]}; give them one by one, or pick prompts that match token by token"
            )
    return torch.cat(rows)


def token_texts(model: Model, ids: Int[Tensor, " pos"]) -> list[str]:
    """The text of each token."""
    return [model.tokenizer.decode([token]) for token in ids.tolist()]


def token_id(model: Model, text: str) -> int:
    """The id of the one token that `text` is. Raises `PellucidError` quoting the pieces where it is not one."""
    ids = model.tokenizer.encode(text)
    if len(ids) != 1:
        pieces = [model.tokenizer.decode([token]) for token in ids]
        hint = f" (did you mean {' ' + text!r}?)" if text and not text[0].isspace() else ""
        raise PellucidError(f"{text!r} is {len(ids)} tokens ({pieces}), expected one{hint}")
    return ids[0]

"""What the engine runs: an exact model, or a program that puts something else in place of parts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from pellucid.base.axes import BATCH, POS
from pellucid.base.errors import PellucidError
from pellucid.engine.sites import axes
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.exact.model import Text as Text
from pellucid.exact.rows import Group, Rows
from pellucid.subject.spelling import spelled


@runtime_checkable
class ReplacedModel(Protocol):
    """A model with replacements: what a decompiled program is to the engine."""

    @property
    def model(self) -> Model:
        """The exact model that everything that is not replaced runs in."""
        ...

    def edits(self, ids: Int[Tensor, "batch pos"]) -> Mapping[str, Edit]:
        """What takes the place of activations, by name, when whole rows `ids` are run."""
        ...


Subject = Model | ReplacedModel
"""What every verb of the engine takes first."""


def model_of(subject: Subject) -> Model:
    """The exact model behind `subject`."""
    return subject if isinstance(subject, Model) else subject.model


def edits_of(subject: Subject, rows: Int[Tensor, "batch pos"] | Rows) -> Mapping[str, Edit]:
    """What `subject` puts in place of the exact model's activations in rows; padding is never shown to it."""
    if isinstance(subject, Model):
        return {}
    if isinstance(rows, Tensor):
        return subject.edits(rows)
    if rows.pads is None:
        return subject.edits(rows.ids)
    own = [(group, subject.edits(group.cut(rows.ids, (BATCH, POS)))) for group in rows.groups]
    return {name: _apart(name, own) for name in dict.fromkeys(name for _, edits in own for name in edits)}


def _apart(name: str, own: Sequence[tuple[Group, Mapping[str, Edit]]]) -> Edit:
    """An edit that does to the rows of each length what their own edit does."""

    def edit(x: Tensor) -> Tensor:
        for group, edits in own:
            if name in edits:
                x = group.put(x, axes(name), edits[name](group.cut(x, axes(name))))
        return x

    return edit


def ids_of(model: Model, text: Text) -> Int[Tensor, "batch pos"]:
    """The tokens of prompts of one length. Raises `PellucidError` quoting two prompts that differ."""
    rows = model.rows(text)
    if rows.pads is None:
        return rows.ids
    lengths = rows.lengths
    shown = [repr(model.tokenizer.decode(row.tolist())) for row in rows.apart()]
    other = next(n for n, length in enumerate(lengths) if length != lengths[0])
    raise PellucidError(
        f"prompts must have the same number of tokens: {shown[0]} has {lengths[0]}, {shown[other]} has "
        f"{lengths[other]}; give them one by one, or pick prompts that match token by token"
    )


def token_texts(model: Model, ids: Int[Tensor, " pos"]) -> list[str]:
    """The text of each token; bytes that are part of a character are shown as such."""
    return spelled(model.tokenizer, ids.tolist())


def token_id(model: Model, text: str) -> int:
    """The id of the one token that `text` is. Raises `PellucidError` quoting the pieces where it is not one."""
    ids = model.tokenizer.encode(text)
    if len(ids) != 1:
        pieces = spelled(model.tokenizer, ids)
        hint = f" (did you mean {' ' + text!r}?)" if text and not text[0].isspace() else ""
        raise PellucidError(f"{text!r} is {len(ids)} tokens ({pieces}), expected one{hint}")
    return ids[0]

"""Where sources are most wrong: the places of a text where a source and the raw part differ most."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.schema import OPEN, Count, parsed, plain_json
from pellucid.exact.model import Model
from pellucid.forms.form import Together, Written, grouped
from pellucid.measure.record import record
from pellucid.subject.spelling import spelled

Found = TypeVar("Found")
WORST = 3
"""Contexts that are kept of each part."""
CONSIDERED = 24
"""Rows whose worst place may be one of them: no two may end in the same two tokens."""
BEFORE = 24
"""Tokens that are shown before the place."""


def worst_contexts(
    model: Model, forms: Mapping[Address, Written], rows: Int[Tensor, "row pos"]
) -> dict[Address, list[dict[str, Any]]]:
    """For every form its worst places on `rows`, as reports show them: at most one a row, and none like another.

    A neuron's difference is that of its pre-activations, and the tokens that its rule speaks of are marked; a head's
    is the total variation between the patterns, and the tokens are marked by how much the head itself looks at them.
    """
    found: dict[Address, list[dict[str, Any]]] = {}
    for group in grouped(model, forms.values()):
        found |= _heads(group, rows) if group.output.name == "scores" else _neurons(group, rows)
    return found


def _neurons(group: Together[Any], rows: Int[Tensor, "row pos"]) -> dict[Address, list[dict[str, Any]]]:
    model, both = group.model, list[tuple[Tensor, Tensor]]()
    for batch in record(model, rows, [group.name, *group.reads]):
        ((where, piece),) = group.pieces(group.seen(batch.ids, batch.values))
        both.append((batch.values[group.name][where], piece))
    own, said = map(torch.cat, zip(*both, strict=True))
    worst = worst_places((own - said).abs(), rows)
    return {
        form.address: [
            context(model, rows[row], at, _spoken(form, rows[row]), float(own[row, at, n]), float(said[row, at, n]))
            for row, at in worst[n]
        ]
        for n, form in enumerate(group.forms)
    }


def worst_places(
    difference: Float[Tensor, "row pos part"], rows: Int[Tensor, "row pos"]
) -> list[list[tuple[int, int]]]:
    """Row and position of the largest differences of every part, the largest first.

    At most one a row, and no two at the same token behind the same token: they would show the same thing.
    """
    by_row, at = difference.max(1)
    order = by_row.topk(min(CONSIDERED, len(by_row)), 0).indices
    places = at.gather(0, order)
    tokens = rows[order, places]
    before = torch.where(places > 0, rows[order, (places - 1).clamp(min=0)], -1)
    columns = (column.T.tolist() for column in (order, places, tokens, before))
    return [
        _unlike(list(zip(chosen, where, strict=True)), list(zip(last, pair, strict=True)))
        for chosen, where, last, pair in zip(*columns, strict=True)
    ]


def _unlike(found: Sequence[Found], ends: Sequence[Hashable]) -> list[Found]:
    """The first of `found`, of which no two have the same one of `ends`."""
    first = dict(zip(reversed(ends), reversed(found), strict=True))
    chosen = [first[end] for end in dict.fromkeys(ends)]
    return chosen[:WORST]


def _spoken(form: Written, ids: Int[Tensor, " pos"]) -> list[float]:
    """1 at the tokens of `ids` that the rule of `form` speaks of."""
    tokens = set(form.tokens)
    return [float(token in tokens) for token in ids.tolist()]


def _heads(group: Together[Any], rows: Int[Tensor, "row pos"]) -> dict[Address, list[dict[str, Any]]]:
    model, found = group.model, dict[Address, list[dict[str, Any]]]()
    for batch in record(model, rows, [group.felt, *group.reads]):
        pieces = group.pieces(group.seen(batch.ids, batch.values))
        for address, (where, scores) in zip(group.addresses, pieces, strict=True):
            own = batch.values[group.felt][where]
            variation = (own - group.output.feel(scores, model, group.layer)).abs().sum(-1) / 2
            for n, at in enumerate(variation.argmax(1).tolist()):
                entry = context(model, batch.ids[n], at, own[n, at].tolist(), 1.0, 1 - float(variation[n, at]))
                found.setdefault(address, []).append(entry)
    for address, entries in found.items():
        entries.sort(key=lambda entry: -abs(entry["difference"]))
        found[address] = _unlike(entries, [tuple(entry["tokens"][-2:]) for entry in entries])
    return found


@dataclass(frozen=True)
class Context:
    """A place as it is kept and shown, beside what else is known of it."""

    __pydantic_config__ = OPEN
    tokens: list[str]
    weights: list[float]
    at: Count
    domain: str = ""
    raw: float | None = None
    source: float | None = None
    difference: float | None = None
    note: str = ""


def load_contexts(text: str, stage: str) -> dict[str, list[dict[str, Any]]]:
    """The places by address that `stage` gave, as JSON. Raises `ProjectError` for any other text."""
    place = f"evidence.sqlite, stage `{stage}`"
    parsed(dict[str, list[Context]], text, place, ProjectError)
    found: dict[str, list[dict[str, Any]]] = plain_json(text, place, ProjectError)
    return found


def context(
    model: Model, ids: Int[Tensor, " pos"], at: int, weights: Sequence[float], raw: float, source: float
) -> dict[str, Any]:
    """A place as a report shows it: the tokens up to it, how responsible each is, and both values."""
    start = max(0, at - BEFORE)
    tokens = spelled(model.tokenizer, ids[start : at + 1].tolist())
    return {
        "domain": "held-out",
        "tokens": tokens,
        "weights": [round(weight, 3) for weight in weights[start : at + 1]],
        "at": at - start,
        "raw": round(raw, 4),
        "source": round(source, 4),
        "difference": round(source - raw, 4),
    }

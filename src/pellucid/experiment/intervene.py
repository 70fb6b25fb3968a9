"""Interventions: what to put in place of activations while a model runs. Each verb makes a `Change` for `trace`.

A change names a site as `sites.resolve` reads it and selects positions, heads, neurons and rows of it. Several changes
of one activation apply in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.axes import QUERY
from pellucid.base.errors import PellucidError
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.experiment.batches import in_batches
from pellucid.experiment.select import Selection, Slice
from pellucid.experiment.sites import Site, axes, resolve
from pellucid.experiment.subjects import Subject, Text, edits_of, ids_of, model_of


@runtime_checkable
class Recorded(Protocol):
    """What activations can be taken from: a trace, or means."""

    @property
    def activations(self) -> Mapping[str, Tensor]:
        """Whole activations by name."""
        ...


@dataclass(frozen=True)
class Change:
    """Put something in place of `where`. `value` gets the site, the selected activation, and how it was selected."""

    where: str
    value: Callable[[Site, Tensor, Slice], Tensor]
    selection: Selection


def replace(where: str, value: Tensor | float | Callable[[Tensor], Tensor], **selection: Any) -> Change:
    """Put `value` (a number, a tensor that broadcasts, or a function of what was there) in place of `where`.

    `selection` may name `positions`, `heads`, `neurons`, `keys` and `rows`; an axis selected by a single number is
    dropped, as in NumPy.
    """

    def new(_: Site, x: Tensor, __: Slice) -> Tensor:
        return value(x) if callable(value) else _broadcast(where, torch.as_tensor(value), x)

    return Change(where, new, Selection(**selection))


def steer(where: str, vector: Tensor | float, scale: float = 1.0, **selection: Any) -> Change:
    """Add `scale` · `vector` (which broadcasts) to `where`."""

    def new(_: Site, x: Tensor, __: Slice) -> Tensor:
        return x + scale * _broadcast(where, torch.as_tensor(vector), x)

    return Change(where, new, Selection(**selection))


def patch(where: str, source: Recorded, **selection: Any) -> Change:
    """Put what another run had at `where` in its place; `source` is a trace that recorded it, of the same shape."""

    def new(site: Site, x: Tensor, at: Slice) -> Tensor:
        return _fitting(where, _held(source, site, where), x, at)

    return Change(where, new, Selection(**selection))


def ablate(
    where: str,
    *,
    mean: Recorded | None = None,
    resample: Recorded | None = None,
    seed: int = 0,
    **selection: Any,
) -> Change:
    """Put zero, the `mean` over a corpus, or what a random row of the trace `resample` had in place of `where`.

    `mean` is what `means` found; the rows of `resample` are drawn from `seed`, the same for every site.
    """
    if mean is not None and resample is not None:
        raise PellucidError(f"ablating {where} by its mean and by resampling at once; choose one")

    def new(site: Site, x: Tensor, at: Slice) -> Tensor:
        if mean is not None:
            whole = _held(mean, site, where)
            return _fitting(where, whole.expand(_whole_rows(at, x), *whole.shape[1:]), x, at)
        if resample is not None:
            whole = _held(resample, site, where)
            rows = torch.randint(len(whole), (_whole_rows(at, x),), generator=torch.Generator().manual_seed(seed))
            return _fitting(where, whole[rows.to(whole.device)], x, at)
        return torch.zeros_like(x)

    return Change(where, new, Selection(**selection))


@dataclass(frozen=True)
class Means:
    """Mean activations by name, of one row: one position for all, or one each where means were taken by position."""

    activations: dict[str, Tensor]


def means(subject: Subject, texts: Text, where: Iterable[str], *, by_position: bool = False, batch: int = 16) -> Means:
    """The means over `texts` (token ids of whole rows, or prompts of one length) of the activations `where`.

    Over rows and positions, or over rows alone where `by_position`; pairs of positions always keep theirs. Memory does
    not grow with the number of rows.
    """
    model = model_of(subject)
    rows = ids_of(model, texts)
    names = list(dict.fromkeys(site.activation for one in where for site in resolve(model, one)))
    sums: dict[str, Tensor] = {}

    def add(at: slice) -> None:
        ids = rows[at]
        with torch.no_grad():
            values = model.run(ids, tuple(names), edits=edits_of(subject, ids))
        for name, value in values.items():
            keep = by_position or QUERY in axes(name) or value.shape[1] == 1
            dims = (0,) if keep else (0, 1)
            total = value.expand(len(ids), *value.shape[1:]).double().mean(dims, keepdim=True) * len(ids)
            sums[name] = sums[name] + total if name in sums else total

    for _ in in_batches(len(rows), batch, add):
        pass
    return Means({name: (total / len(rows)).to(model.dtype) for name, total in sums.items()})


# --- from changes to edits --------------------------------------------------------------------------------------------


def compile_edits(
    model: Model, changes: Iterable[Change], ids: Int[Tensor, "batch pos"], under: Mapping[str, Edit] | None = None
) -> dict[str, Edit]:
    """The edits that a graph applies for `changes`, behind those of `under` (a program's own)."""
    chains: dict[str, list[Edit]] = {name: [edit] for name, edit in (under or {}).items()}
    for change in changes:
        for site in resolve(model, change.where):
            chains.setdefault(site.activation, []).append(_edit(change, site, len(ids)))
    return {name: _chain(edits) for name, edits in chains.items()}


def _edit(change: Change, site: Site, rows: int) -> Edit:
    def edit(x: Tensor) -> Tensor:
        if change.selection.rows is not None and len(x) != rows:
            raise PellucidError(f"{change.where} is one row for all; it cannot be changed in some rows only")
        at = change.selection.at(site, x.shape, change.where)
        old = at.read(x)
        new = change.value(site, old, at)
        if not isinstance(new, Tensor) or new.shape != old.shape:
            got = f"shape {list(new.shape)}" if isinstance(new, Tensor) else repr(type(new).__name__)
            raise PellucidError(f"the replacement of {change.where} has {got}, expected shape {list(old.shape)}")
        if bool(new.isnan().any()):
            raise PellucidError(f"the replacement of {change.where} has NaN in it ({int(new.isnan().sum())} of them)")
        return at.write(x, new.to(x))

    return edit


def _chain(edits: list[Edit]) -> Edit:
    def edit(x: Tensor) -> Tensor:
        for one in edits:
            x = one(x)
        return x

    return edits[0] if len(edits) == 1 else edit


def _broadcast(where: str, value: Tensor, x: Tensor) -> Tensor:
    try:
        return value.to(x).expand_as(x) if not value.requires_grad else value.to(x.device, x.dtype).expand_as(x)
    except RuntimeError:
        raise PellucidError(
            f"the value for {where} has shape {list(value.shape)}, which does not broadcast to {list(x.shape)}"
        ) from None


def _held(source: Recorded, site: Site, where: str) -> Tensor:
    if site.activation not in source.activations:
        raise PellucidError(f"{where} ({site.activation}) was not recorded in the run to take it from; record it there")
    return source.activations[site.activation]


def _whole_rows(at: Slice, x: Tensor) -> int:
    """The rows of the whole activation of which `x` was read; those of `x` unless rows were selected."""
    for axis, index, _ in at.chosen:
        if axis == 0:
            return int(index.max()) + 1
    return len(x)


def _fitting(where: str, whole: Tensor, x: Tensor, at: Slice) -> Tensor:
    """What `at` selects of `whole`, which may have one position for all."""
    try:
        chosen = [(axis, index if whole.shape[axis] > 1 else index * 0, drop) for axis, index, drop in at.chosen]
        return Slice(tuple(chosen)).read(whole).expand_as(x)
    except (RuntimeError, IndexError):
        raise PellucidError(
            f"{where} has shape {list(whole.shape)} in the run to take it from, which does not fit "
            f"{list(x.shape)} here; clean and corrupted prompts must have the same number of tokens"
        ) from None

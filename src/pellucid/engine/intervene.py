"""Interventions: what to put in place of activations while a model runs. Each verb makes a `Change` for `trace`.

A change names a site as `sites.resolve` reads it and selects positions, heads, neurons and rows of it. Several changes
of one activation apply in the order in which they are given. Of rows of different lengths each changes as it would
alone: positions are its own, and padding is never seen. Negative positions count from the end of the run that they
belong to: the target's where something is put, the source's where it is taken from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as altered
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.axes import BATCH, KEY, POS, QUERY
from pellucid.base.errors import PellucidError
from pellucid.engine.batches import in_batches
from pellucid.engine.select import Selection, Slice, Window, indices
from pellucid.engine.sites import Site, axes, is_constant, listed, resolve
from pellucid.engine.subjects import Subject, Text, edits_of, model_of
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.exact.rows import Group, Rows, Stretch


@runtime_checkable
class Recorded(Protocol):
    """What activations can be taken from: a trace, or means."""

    @property
    def activations(self) -> Mapping[str, Tensor]:
        """Whole activations by name."""
        ...


@runtime_checkable
class Padded(Protocol):
    """A run whose rows may have padding in front."""

    @property
    def pads(self) -> Int[Tensor, " batch"] | None:
        """How many of each row's positions are padding; None where none are."""
        ...


@dataclass(frozen=True)
class Scope:
    """Where a change applies: rows of one length, and which of their positions, heads and neurons.

    `rows` are the numbers of its rows in the batch of `batch` rows, `numbers` their places among the `selected` rows
    that the change selects in all, `shape` that of their whole activation, which begins with position `window.first`.
    """

    where: str
    site: Site
    selection: Selection
    window: Window
    slice: Slice
    shape: tuple[int, ...]
    rows: Int[Tensor, " row"]
    numbers: Int[Tensor, " row"]
    selected: int
    batch: int


Replacement = Callable[[Scope, Tensor], Tensor]
"""What to put in place of the selected activation."""


@dataclass(frozen=True)
class Change:
    """Put something in place of `where`."""

    where: str
    """An address, activation, hook name or pattern of them."""
    value: Replacement = field(repr=False)
    """What is put there: a number, a tensor, or a function of what was there."""
    selection: Selection
    """Which positions, heads, neurons, keys and rows of it."""
    how: str = "replace"
    """What made it, for messages: `replace`, `ablate`, `patch` or `steer`."""
    of_run: bool = False
    """Whether it takes what another run had, which has nothing behind its prompt."""

    def __repr__(self) -> str:
        return f"{self.how}({', '.join([repr(self.where), *self.selection.named])})"

    def edits(self, model: Model, stretch: Stretch, under: Mapping[str, Edit]) -> dict[str, Edit]:
        """The edits of `under`, and behind them what this puts in place."""
        found = dict(under)
        for site in resolve(model, self.where):
            found[site.activation] = _behind(found.get(site.activation), _edit(self, site, stretch))
        return found


def replace(where: str, value: Tensor | float | Callable[[Tensor], Tensor], **selection: Any) -> Change:
    """Put `value` (a number, a tensor that broadcasts, or a function of what was there) in place of `where`.

    `selection` may name `positions`, `heads`, `neurons`, `keys` and `rows`; an axis selected by a single number is
    dropped, as in NumPy. Of rows of different lengths a function gets those of one length at a time.

    Args:
        where: An address, activation, hook name or pattern of them.
        value: A number, a tensor that broadcasts to what is there, or a function of what was there.
        selection: Of `where`: `positions`, `heads`, `neurons`, `keys`, `rows`, each a number, a slice or a list; all
            without it.

    Returns:
        A change, for `trace` and `generate`.

    Raises:
        PellucidError: A value of another shape, or that is not finite; a name in `where` that no site has, near ones
            named, or a selection that is not there; when the run is made.
    """

    def new(place: Scope, x: Tensor) -> Tensor:
        return value(x) if callable(value) else _broadcast(place, torch.as_tensor(value), x)

    return Change(where, new, Selection(**selection))


def steer(where: str, vector: Tensor | float, scale: float = 1.0, **selection: Any) -> Change:
    """Add `scale` · `vector` (which broadcasts) to `where`.

    Source: activation addition (Turner et al., 2023, arXiv 2308.10248).

    Args:
        where: An address, activation, hook name or pattern of them.
        vector: What is added: a number, or a tensor that broadcasts to what is there.
        scale: What `vector` is multiplied by.
        selection: Of `where`: `positions`, `heads`, `neurons`, `keys`, `rows`, each a number, a slice or a list; all
            without it.

    Returns:
        A change, for `trace` and `generate`.

    Raises:
        PellucidError: A vector of another shape, or numbers that are no longer finite; a name in `where` that no site
            has, near ones named, or a selection that is not there; when the run is made.
    """

    def new(place: Scope, x: Tensor) -> Tensor:
        return x + scale * _broadcast(place, torch.as_tensor(vector), x)

    return Change(where, new, Selection(**selection), "steer")


def patch(where: str, source: Recorded, **selection: Any) -> Change:
    """Put what another run had at `where` in its place; `source` is a trace that recorded it.

    Row by row; a source of one row is for all. Negative positions are counted from the end of each of the two runs, so
    `positions=-1` takes the last of the source to the last here, whatever their lengths; without positions the two must
    be of the same length.

    Args:
        where: An address, activation, hook name or pattern of them.
        source: The run that recorded it: rows of the same number as here, or one row for all.
        selection: Of `where`: `positions`, `heads`, `neurons`, `keys`, `rows`, each a number, a slice or a list; all
            without it. Negative positions count from the end of each of the two runs.

    Returns:
        A change, for `trace` and `generate`.

    Raises:
        PellucidError: What `source` did not record, or another number of rows, or, without positions, another length; a
            name in `where` that no site has, near ones named, or a selection that is not there; when the run is made.
    """

    def new(place: Scope, x: Tensor) -> Tensor:
        if isinstance(source, Means):
            return _from_means(source, place, x)
        return _from_run(source, place, x, place.rows)

    return Change(where, new, Selection(**selection), "patch", not isinstance(source, Means))


def ablate(
    where: str,
    *,
    mean: Recorded | None = None,
    resample: Recorded | None = None,
    seed: int = 0,
    **selection: Any,
) -> Change:
    """Put zero, the `mean` over a corpus, or what a random row of the trace `resample` had in place of `where`.

    `mean` is what `means` found; means by position are those of the positions here. The rows of `resample` are drawn
    from `seed`, the same for every site.

    Args:
        where: An address, activation, hook name or pattern of them, such as `L00.H01` or `L*.pattern`.
        mean: What `means` found, to be put there; zero without it.
        resample: A trace, a random row of which is put there.
        seed: What its rows are drawn from, the same for every site.
        selection: Of `where`: `positions`, `heads`, `neurons`, `keys`, `rows`, each a number, a slice or a list; all
            without it.

    Returns:
        A change, for `trace` and `generate`.

    Raises:
        PellucidError: `mean` and `resample` at once; a name in `where` that no site has, near ones named, or a
            selection that is not there; when the run is made.
    """
    if mean is not None and resample is not None:
        raise PellucidError(f"ablating {where} by its mean and by resampling at once; choose one")

    def new(place: Scope, x: Tensor) -> Tensor:
        if mean is not None:
            return _from_means(mean, place, x)
        if resample is not None:
            count = len(_held(resample, place))
            drawn = torch.randint(count, (place.batch,), generator=torch.Generator().manual_seed(seed))
            return _from_run(resample, place, x, drawn[place.rows.cpu()])
        return torch.zeros_like(x)

    return Change(where, new, Selection(**selection), "ablate", resample is not None)


@dataclass(frozen=True)
class Means:
    """Mean activations by name, of one row: one position for all, or one each where means were taken by position."""

    activations: dict[str, Tensor]
    """The means by activation, without the axes that were averaged."""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {list(value.shape)}" for name, value in list(self.activations.items())[:4])
        return f"<Means of {len(self.activations)} activations: {sizes}{', …' if len(self.activations) > 4 else ''}>"


def means(subject: Subject, texts: Text, where: Iterable[str], *, by_position: bool = False, batch: int = 16) -> Means:
    """The means over `texts` (prompts, or token ids of whole rows) of the activations `where`.

    Over rows and positions, or over rows alone where `by_position`; pairs of positions always keep theirs. Texts may
    differ in length: positions are counted from each one's start, and a position's mean is over the texts that have it.
    Memory does not grow with the number of rows.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        texts: Prompts: one text, several of any lengths, or token ids [batch, pos].
        where: The activations, by names or patterns.
        by_position: Means over rows alone, by position; else over rows and positions. Pairs of positions always keep
            theirs.
        batch: Rows that are run at a time.

    Returns:
        The means by activation, each of the activation's shape without the axes that were averaged.

    Raises:
        PellucidError: A name that no site has; a prompt that the subject cannot read: empty, longer than its context,
            or a word or id that it does not have.
    """
    model = model_of(subject)
    rows = model.rows(texts)
    names = list(dict.fromkeys(site.activation for one in listed(where) for site in resolve(model, one)))
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}

    def add(ids: Int[Tensor, "batch pos"]) -> None:
        with torch.no_grad():
            values = model.run(ids, tuple(names), edits=edits_of(subject, ids))
        for name, value in values.items():
            places = [axis for axis, kind in enumerate(axes(name)) if kind in (POS, QUERY, KEY)]
            kept = places if by_position or QUERY in axes(name) else []
            total = value.expand(len(ids), *value.shape[1:]).double()
            count = total.new_ones([size if axis in (0, *places) else 1 for axis, size in enumerate(total.shape)])
            for held, part in ((sums, total), (counts, count)):
                part = part.sum([0, *(axis for axis in places if axis not in kept)], keepdim=True)
                part = part if is_constant(name) else _longer(part, kept, rows.ids.shape[1])
                held[name] = held[name] + part if name in held else part

    for group in rows.groups:
        own = group.cut(rows.ids, (BATCH, POS))
        for _ in in_batches(len(own), batch, lambda at, own=own: add(own[at])):  # type: ignore[misc]
            pass
    return Means({name: (total / counts[name]).to(model.dtype) for name, total in sums.items()})


def _longer(x: Tensor, places: Iterable[int], length: int) -> Tensor:
    """`x` with 0 behind it up to `length` on the axes `places`."""
    for axis in places:
        sizes = list(x.shape)
        sizes[axis] = length - sizes[axis]
        x = torch.cat([x, x.new_zeros(sizes)], axis)
    return x


# --- from changes to edits --------------------------------------------------------------------------------------------


def _window(stretch: Stretch, group: Group) -> Window:
    """The positions that are computed of rows of one length."""
    beyond = None if stretch.beyond is None else stretch.beyond - group.pad
    return Window(stretch.length - group.pad, max(0, stretch.first - group.pad), beyond)


def compile_edits(
    model: Model,
    changes: Iterable[Change],
    ids: Int[Tensor, "batch pos"] | Stretch,
    under: Mapping[str, Edit] | None = None,
) -> dict[str, Edit]:
    """The edits that a graph applies for `changes`, behind those of `under` (a program's own)."""
    stretch = ids if isinstance(ids, Stretch) else Stretch(Rows(ids))
    edits = dict(under or {})
    for change in changes:
        edits = change.edits(model, stretch, edits)
    return edits


def _edit(change: Change, site: Site, stretch: Stretch) -> Edit:
    """What `change` does to the activation of `site`, each row's positions its own."""
    rows, batch = change.selection.rows, len(stretch.rows)

    def edit(x: Tensor) -> Tensor:
        whole = torch.arange(batch)
        wanted = whole if rows is None else indices(rows, batch, f"rows of {change.where}")
        if len(x) != batch or is_constant(site.activation):
            if rows is not None:
                raise PellucidError(f"{change.where} is one row for all; it cannot be changed in some rows only")
            everywhere = is_constant(site.activation)
            window = Window(x.shape[1]) if everywhere else _window(stretch, stretch.rows.groups[0])
            return _changed(change, site, x, window, (whole, whole, batch), batch)
        for group in stretch.rows.groups:
            members = group.rows.tolist()
            numbers = torch.tensor([n for n, row in enumerate(wanted.tolist()) if row in members], dtype=torch.long)
            if not len(numbers):
                continue
            at = torch.tensor([members.index(row) for row in wanted[numbers].tolist()])
            own = x if stretch.rows.pads is None else group.cut(x, site.axes, stretch.first)
            chosen = (wanted[numbers], numbers, len(wanted))
            new = _changed(change, site, own, _window(stretch, group), chosen, batch, None if rows is None else at)
            x = new if stretch.rows.pads is None else group.put(x, site.axes, new, stretch.first)
        return x

    return edit


def _changed(
    change: Change,
    site: Site,
    x: Tensor,
    window: Window,
    chosen: tuple[Int[Tensor, " row"], Int[Tensor, " row"], int],
    batch: int,
    at: Int[Tensor, " row"] | None = None,
) -> Tensor:
    """An activation of rows of one length, with what `change` puts into those of them that are in places `at`."""
    if change.of_run and window.beyond is not None and not is_constant(site.activation):
        return _of_prompt(change, site, x, window, chosen, batch, at)
    selection = change.selection
    if at is not None:
        selection = altered(selection, rows=int(at) if isinstance(selection.rows, int) else at)
    selected = selection.at(site, x.shape, change.where, window)
    if selected.empty:
        return x
    old = selected.read(x)
    numbers = dict(zip(("rows", "numbers", "selected"), chosen, strict=True))
    place = Scope(change.where, site, selection, window, selected, tuple(x.shape), batch=batch, **numbers)  # type: ignore[arg-type]
    new = change.value(place, old)
    if not isinstance(new, Tensor) or new.shape != old.shape:
        got = f"shape {list(new.shape)}" if isinstance(new, Tensor) else repr(type(new).__name__)
        raise PellucidError(f"the replacement of {change.where} has {got}, expected shape {list(old.shape)}")
    new = new.to(x)
    _require_finite(change, site, new)
    return selected.write(x, new)


def _of_prompt(
    change: Change,
    site: Site,
    x: Tensor,
    window: Window,
    chosen: tuple[Int[Tensor, " row"], Int[Tensor, " row"], int],
    batch: int,
    at: Int[Tensor, " row"] | None,
) -> Tensor:
    """An activation with what `change` puts into the positions of the prompt alone."""
    if window.first >= window.length:
        return x
    ends = {POS: window.length - window.first, QUERY: window.length - window.first, KEY: window.length}
    where = tuple(slice(ends.get(kind)) for kind in site.axes)
    new = _changed(change, site, x[where], Window(window.length, window.first), chosen, batch, at)
    x = x.clone()
    x[where] = new
    return x


def _require_finite(change: Change, site: Site, new: Tensor) -> None:
    """Raise `PellucidError` for what is put in place and is no finite number; a score may be −inf: look there never."""
    wrong = ~new.isfinite()
    if site.activation.endswith(".scores"):
        wrong = wrong & (new != -torch.inf)
    if not bool(wrong.any()):
        return
    what = "NaN in it" if bool(new.isnan().any()) else f"infinite numbers in {str(new.dtype).removeprefix('torch.')}"
    raise PellucidError(f"the replacement of {change.where} has {what} ({int(wrong.sum())} of {new.numel()})")


def _behind(before: Edit | None, edit: Edit) -> Edit:
    return edit if before is None else lambda x: edit(before(x))


# --- what is put in place ---------------------------------------------------------------------------------------------


def _broadcast(place: Scope, value: Tensor, x: Tensor) -> Tensor:
    """`value` in the shape of `x`; of one that has a row for each selected row, the rows that stand here."""
    if value.ndim == x.ndim and len(place.numbers) < place.selected == len(value) > 1:
        value = value[place.numbers.to(value.device)]
    try:
        return value.to(x).expand_as(x) if not value.requires_grad else value.to(x.device, x.dtype).expand_as(x)
    except RuntimeError:
        raise PellucidError(
            f"the value for {place.where} has shape {list(value.shape)}, which does not broadcast to {list(x.shape)}"
        ) from None


def _held(source: Recorded, place: Scope) -> Tensor:
    name = place.site.activation
    if name not in source.activations:
        raise PellucidError(f"{place.where} ({name}) was not recorded in the run to take it from; record it there")
    return source.activations[name]


def _from_run(source: Recorded, place: Scope, x: Tensor, rows: Int[Tensor, " row"]) -> Tensor:
    """What `source` had in its `rows`, one for each row here, at positions that are counted in each of them."""
    whole, rows = _held(source, place), rows.cpu()
    if len(whole) == 1:
        rows = torch.zeros_like(rows)
    if int(rows.max()) >= len(whole):
        raise PellucidError(
            f"{place.where} was recorded in {len(whole)} rows of the run to take it from, and is changed in "
            f"{place.batch} here; give one row for all, or one for each"
        )
    pads = source.pads if isinstance(source, Padded) else None
    behind = torch.zeros_like(rows) if pads is None or len(whole) == 1 else pads.cpu()[rows]
    dropped = isinstance(place.selection.rows, int)
    parts: list[Tensor] = [x] * len(rows)
    for pad in behind.unique().tolist():  # type: ignore[no-untyped-call]
        numbers = (behind == pad).nonzero()[:, 0]
        own = Group(rows[numbers], pad).cut(whole, place.site.axes)
        found = _taken(place, own)
        if tuple(found.shape) != (tuple(x.shape) if dropped else (len(numbers), *x.shape[1:])):
            raise PellucidError(
                f"{place.where} has shape {list(own.shape)} in the run to take it from, which does not fit "
                f"{list(place.shape)} here; clean and corrupted prompts must have the same number of tokens, or name "
                "positions that both have"
            )
        if dropped or len(numbers) == len(rows):
            return found
        for number, part in zip(numbers.tolist(), found, strict=True):
            parts[number] = part
    return torch.stack(parts)


def _taken(place: Scope, whole: Tensor) -> Tensor:
    """What is selected of rows of another run, in which negative positions count from their own end."""
    length = next((n for axis, n in zip(place.site.axes, whole.shape, strict=True) if axis in (POS, QUERY, KEY)), 1)
    rows = place.selection.rows
    selection = altered(place.selection, rows=rows if rows is None else 0 if isinstance(rows, int) else slice(None))
    return selection.at(place.site, whole.shape, f"{place.where} in the run to take it from", Window(length)).read(
        whole
    )


def _from_means(source: Recorded, place: Scope, x: Tensor) -> Tensor:
    """The means of what is selected: one for all positions, or those of the positions that stand here."""
    whole = _held(source, place)
    if len(whole) > 1:
        raise PellucidError(f"the means of {place.where} have {len(whole)} rows, expected one; `means` gives them")
    for axis, kind in enumerate(place.site.axes):
        if kind in (POS, QUERY, KEY) and whole.shape[axis] > 1:
            first, size = 0 if kind == KEY else place.window.first, place.shape[axis]
            if first + size > whole.shape[axis]:
                raise PellucidError(
                    f"the means of {place.where} are by position, of {whole.shape[axis]} positions, and {first + size} "
                    "are there; take means over texts that are as long"
                )
            whole = whole.narrow(axis, first, size)
    chosen = [(axis, index if whole.shape[axis] > 1 else index * 0, drop) for axis, index, drop in place.slice.chosen]
    return Slice(tuple(chosen)).read(whole).expand_as(x)

"""One forward pass, with what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.axes import KEY, POS, QUERY
from pellucid.base.errors import PellucidError, closest
from pellucid.engine.intervene import Change, compile_edits
from pellucid.engine.select import Selection
from pellucid.engine.sites import axes, is_constant, listed, resolve
from pellucid.engine.subjects import Subject, Text, edits_of, model_of, token_texts
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.exact.ops import leaf
from pellucid.exact.rows import Rows, Stretch


@dataclass(frozen=True)
class Trace:
    """What a run gave. `trace["L03.H01.OV"]` or `trace["blocks.3.attn.hook_z"]` is what was recorded there.

    Rows of different lengths are aligned at their ends, as `ids` are: position −1 is the last of each. `pads` says how
    many positions in front are none of a row's; activations and logits are NaN there, and the text of tokens empty.
    """

    model: Model = field(repr=False)
    """The model that ran: of a program, the exact graph of what it computes."""
    ids: Int[Tensor, "batch pos"] = field(repr=False)
    """The tokens of every row."""
    activations: dict[str, Tensor] = field(repr=False)
    """What was recorded, by names of activations; `trace[NAME]` also takes addresses and names of hooks."""
    with_gradients: bool = False
    """Whether gradients can be taken."""
    pads: Int[Tensor, " batch"] | None = field(default=None, repr=False)
    _leaves: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        names = [name for name in self.activations if name != "logits"]
        held = f"{len(names)} recorded ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})" if names else "logits"
        lengths = sorted(set(self.rows.lengths))
        size = str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        rows = f"{len(self.ids)} {'row' if len(self.ids) == 1 else 'rows'} of {size} tokens"
        return (
            f"<Trace of {self.model.subject.name}: {rows}; {held}{', with gradients' if self.with_gradients else ''}>"
        )

    @property
    def rows(self) -> Rows:
        """The tokens with their padding."""
        return Rows(self.ids, self.pads)

    @property
    def logits(self) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token. Raises `PellucidError` for a run without (`logits=False`)."""
        return self["logits"]

    @property
    def tokens(self) -> list[list[str]]:
        """The text of every token, row by row; empty for padding."""
        pads = [self.ids.shape[1] - length for length in self.rows.lengths]
        own = zip(pads, self.rows.apart(), strict=True)
        return [[""] * pad + token_texts(self.model, row) for pad, row in own]

    def __getitem__(self, where: str) -> Tensor:
        """What was recorded at `where`: whole activations, or the head or neuron of an address."""
        return _look_up(self.model, self.activations, where)

    def gradients(self, metric: Float[Tensor, ""]) -> Gradients:
        """The gradients of the number `metric`, computed from `logits`, at everything that was recorded.

        Raises `PellucidError` for a run that was not asked for them with `gradients=True`.
        """
        if not self.with_gradients:
            raise PellucidError("this run was recorded without gradients; trace(…, gradients=True) records with them")
        if not isinstance(metric, Tensor) or metric.numel() != 1 or not metric.requires_grad:
            raise PellucidError(f"gradients are taken of one number computed from the run's logits, not of {metric!r}")
        held = self._leaves or self.activations
        names = [name for name in held if held[name].requires_grad]
        found = torch.autograd.grad(
            metric.reshape(()), [held[name] for name in names], allow_unused=True, retain_graph=True
        )
        pairs = zip(names, found, strict=True)
        return Gradients(self.model, {n: torch.zeros_like(held[n]) if g is None else g for n, g in pairs})


@dataclass(frozen=True)
class Gradients:
    """Gradients by the names under which activations were recorded."""

    model: Model = field(repr=False)
    activations: dict[str, Tensor] = field(repr=False)

    def __repr__(self) -> str:
        return f"<Gradients at {', '.join(self.activations) or 'nothing'}>"

    def __getitem__(self, where: str) -> Tensor:
        return _look_up(self.model, self.activations, where)


def trace(
    subject: Subject,
    text: Text,
    record: Iterable[str] = (),
    changes: Iterable[Change] = (),
    *,
    gradients: bool = False,
    logits: bool = True,
) -> Trace:
    """Run `subject` on `text` (one, several of any lengths, or token ids), recording the sites `record`.

    `record` and the `changes` that are made name addresses, activations, hooks, or patterns of them (see `sites`); with
    `gradients` those of any metric of the logits can be taken at whatever was recorded. Without `logits` only what
    `record` needs is computed. Each row comes out as it would alone.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        text: Prompts: one text, several of any lengths, or token ids [batch, pos].
        record: Sites to record, by names or patterns.
        changes: What is put in the place of activations, one after the other.
        gradients: Record so that gradients of any metric can be taken.
        logits: Compute logits too; else only what `record` needs.

    Returns:
        The run: logits [batch, pos, vocab], and activations by name.

    Raises:
        PellucidError: Names that no site has, changes that cannot reach what is computed, select nothing, or leave
            numbers that are not finite; a prompt that the subject cannot read: empty, longer than its context, or a
            word or id that it does not have.
    """
    return traced(subject, Stretch(model_of(subject).rows(text)), record, changes, gradients=gradients, logits=logits)


def traced(
    subject: Subject,
    stretch: Stretch,
    record: Iterable[str] = (),
    changes: Iterable[Change] = (),
    *,
    gradients: bool = False,
    logits: bool = True,
) -> Trace:
    """`trace` of rows of which the last may be written behind the prompt."""
    model, rows = model_of(subject), stretch.rows
    changed = list(changes)
    names = list(dict.fromkeys(site.activation for one in listed(record) for site in resolve(model, one)))
    want = tuple(dict.fromkeys((*names, *(("logits",) if logits else ()))))
    if not want:
        raise PellucidError("nothing is recorded and the logits are left out; name what to compute")
    edits = compile_edits(model, changed, stretch, edits_of(subject, rows))
    if gradients:
        edits = _with_leaves(edits, names)
    end = (model.last_resid,) if logits else ()
    with torch.set_grad_enabled(gradients or torch.is_grad_enabled()):
        values = model.run(rows.ids, tuple(dict.fromkeys((*want, *end))), edits=edits, pads=rows.pads)
        _require_finite(model, rows, values, edits, changed)
        held = {name: values[name] for name in want}
        if rows.pads is None:
            return Trace(model, rows.ids, held, gradients)
        shown = {name: _unpadded(name, value, rows) for name, value in held.items()}
    return Trace(model, rows.ids, shown, gradients, rows.pads, held if gradients else {})


def _unpadded(name: str, value: Tensor, rows: Rows) -> Tensor:
    """An activation with NaN at padding."""
    if is_constant(name):
        return value
    hidden = torch.zeros(1, *([1] * (value.ndim - 1)), dtype=torch.bool, device=value.device)
    for axis, kind in enumerate(axes(name)):
        if kind in (POS, QUERY, KEY):
            shape = [len(rows), *(rows.ids.shape[1] if at == axis else 1 for at in range(1, value.ndim))]
            hidden = hidden | ~rows.mask.to(value.device).view(shape)
    return value.masked_fill(hidden, torch.nan)


def _require_finite(
    model: Model, rows: Rows, values: Mapping[str, Tensor], edits: Mapping[str, Edit], changes: Sequence[Change]
) -> None:
    """Raise `PellucidError` where a run gave numbers that are not finite, naming the first activation that has some."""
    if not any(model.is_broken(name, value) for name, value in values.items()):
        return
    running = [node.name for node in model.graph_of((*values, *edits)).nodes]
    with torch.no_grad():
        found = model.run(rows.ids, tuple(running), edits=edits, pads=rows.pads)
    first = next((name for name in running if model.is_broken(name, found[name])), "logits")
    by = f"with {', '.join(map(repr, changes))} " if changes else ""
    raise PellucidError(
        f"{by}{first} is no longer finite in {model.precision}, or too large for a norm to read, and so is what is "
        "computed of it; " + ("make what is put there smaller, or " if changes else "") + "load with dtype='float64'"
    )


def _with_leaves(edits: dict[str, Edit], names: Iterable[str]) -> dict[str, Edit]:
    """`edits`, and behind them something that gradients can be taken at, for each of `names`."""
    chains = dict(edits)
    for name in names:
        before = edits.get(name)
        chains[name] = leaf if before is None else _after(before)
    return chains


def _after(before: Edit) -> Edit:
    return lambda x: leaf(before(x))


def _look_up(model: Model, held: dict[str, Tensor], where: str) -> Tensor:
    if where in held:
        return held[where]
    sites = resolve(model, where)
    missing = [site.activation for site in sites if site.activation not in held]
    if missing:
        near = closest(missing[0], list(held)) or f"; recorded are {', '.join(held) or 'no activations'}"
        raise PellucidError(f"{where!r} ({missing[0]}) was not recorded in this run{near}")
    if len(sites) > 1:
        raise PellucidError(f"{where!r} names {len(sites)} activations; read them one by one, {sites[0]} first")
    value = held[sites[0].activation]
    return Selection().at(sites[0], value.shape, where).read(value)

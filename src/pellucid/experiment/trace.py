"""One forward pass, with what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError, closest
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.experiment.intervene import Change, compile_edits
from pellucid.experiment.select import Selection
from pellucid.experiment.sites import resolve
from pellucid.experiment.subjects import Subject, Text, edits_of, ids_of, model_of, token_texts


@dataclass(frozen=True)
class Trace:
    """What a run gave. `trace["L03.H01.OV"]` or `trace["blocks.3.attn.hook_z"]` is what was recorded there."""

    model: Model = field(repr=False)
    ids: Int[Tensor, "batch pos"] = field(repr=False)
    activations: dict[str, Tensor] = field(repr=False)
    with_gradients: bool = False

    @property
    def logits(self) -> Float[Tensor, "batch pos vocab"]:
        """The logits after each token. Raises `PellucidError` for a run without (`logits=False`)."""
        return self["logits"]

    @property
    def tokens(self) -> list[list[str]]:
        """The text of every token, row by row."""
        return [token_texts(self.model, row) for row in self.ids]

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
        names = [name for name in self.activations if self.activations[name].requires_grad]
        found = torch.autograd.grad(
            metric.reshape(()), [self.activations[name] for name in names], allow_unused=True, retain_graph=True
        )
        pairs = zip(names, found, strict=True)
        return Gradients(self.model, {n: torch.zeros_like(self.activations[n]) if g is None else g for n, g in pairs})


@dataclass(frozen=True)
class Gradients:
    """Gradients by the names under which activations were recorded."""

    model: Model = field(repr=False)
    activations: dict[str, Tensor] = field(repr=False)

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
    """Run `subject` on `text`, recording the sites `record` and making `changes`.

    `record` and the changes name addresses, activations, hooks, or patterns of them (see `sites`); with `gradients`
    those of any metric of the logits can be taken at whatever was recorded. Without `logits` only what `record` needs
    is computed. Raises `PellucidError` for names that do not exist, for changes that cannot reach what is computed or
    select nothing, and for prompts that the subject cannot read.
    """
    model = model_of(subject)
    ids = ids_of(model, text)
    changed = list(changes)
    names = list(dict.fromkeys(site.activation for one in _listed(record) for site in resolve(model, one)))
    want = tuple(dict.fromkeys((*names, *(("logits",) if logits else ()))))
    if not want:
        raise PellucidError("nothing is recorded and the logits are left out; name what to compute")
    edits = compile_edits(model, changed, ids, edits_of(subject, ids))
    if gradients:
        edits = _with_leaves(edits, names)
    with torch.set_grad_enabled(gradients or torch.is_grad_enabled()):
        values = model.run(ids, want, edits=edits)
    return Trace(model, ids, values, gradients)


def _listed(record: Iterable[str]) -> Sequence[str]:
    return [record] if isinstance(record, str) else list(record)


def _with_leaves(edits: dict[str, Edit], names: Iterable[str]) -> dict[str, Edit]:
    """`edits`, and behind them something that gradients can be taken at, for each of `names`."""
    chains = dict(edits)
    for name in names:
        before = edits.get(name)
        chains[name] = _leaf if before is None else _after(before)
    return chains


def _after(before: Edit) -> Edit:
    return lambda x: _leaf(before(x))


def _leaf(value: Tensor) -> Tensor:
    return value if value.requires_grad else value.detach().requires_grad_()


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

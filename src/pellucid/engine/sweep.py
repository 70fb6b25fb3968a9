"""Patching sweeps: put each piece of one run into another run, one piece at a time, and read a metric. Exact.

A piece at one layer and position changes nothing in layers below it and nothing at positions before it, and above its
own layer it can only act through the residual stream at its own position. So every variant starts as a single position
(`single.py`), joins the next layer with keys and values of the base run for all that stays the same, and from there
only positions that can change are computed, of the last layer only the one that is read. Variants run many at a time,
those of lower layers first, so that all share the batch. Positions are grouped where a batch would be too small; those
before a variant's own are then computed again, and come out as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError, closest
from pellucid.base.progress import track
from pellucid.engine.batches import in_batches
from pellucid.engine.metrics import Metric
from pellucid.engine.pairs import Pairs, index_of, paired
from pellucid.engine.restart import Single, SiteAt, needed, restarts
from pellucid.engine.shares import divides, finite
from pellucid.engine.sites import heads_write
from pellucid.engine.subjects import Subject, Text, edits_of, model_of, token_texts
from pellucid.exact.model import Model, causal_mask
from pellucid.exact.rules import fuse

KINDS: tuple[SiteAt, ...] = get_args(SiteAt)
TOKENS = 768
"""Tokens that run at a time: enough to keep the processor busy, few enough for its cache."""
ENOUGH = 192
"""Tokens from which on a batch needs no further positions to be worth its weights' way through memory."""
KEYS = 4096
"""Positions whose keys and values are held for the variants of a batch: each variant has a copy of its own."""


@dataclass(frozen=True)
class Sweep:
    """What the metric is with each piece of the source in the base run.

    `values` has layer × head (or neuron; one where the kind has none) × position × prompt; `base` and `source` are the
    metric of the runs as they are. Of prompts of different lengths `positions` count from the end of each, unless
    others were asked for; `values` are NaN where a prompt has no such position. `tokens` are those of the first that
    has it.
    """

    kind: SiteAt
    """What a piece is, such as `resid_pre` or `z`."""
    layers: tuple[int, ...]
    """The layers that were swept."""
    members: tuple[int, ...]
    """The heads or neurons; 0 alone where the kind has none."""
    positions: tuple[int, ...]
    """The positions; counted from the end where prompts differ in length."""
    tokens: tuple[str, ...]
    """The token at each position, of the first prompt that has it."""
    values: Float[Tensor, "layer member position prompt"] = field(repr=False)
    """The metric with each piece patched in, in its own unit."""
    base: Float[Tensor, " prompt"] = field(repr=False)
    """The metric of the base run."""
    source: Float[Tensor, " prompt"] = field(repr=False)
    """The metric of the source run."""

    def __repr__(self) -> str:
        pieces = " × ".join(map(str, self.values.shape[:3]))
        ends = f"{float(self.base.mean()):.2f} to {float(self.source.mean()):.2f}"
        at = divmod(int(self.effect.abs().nan_to_num().argmax()), self.effect[0].numel())
        member, position = divmod(at[1], len(self.positions))
        most = float(self.effect[at[0], member, position])
        own = "" if self.kind in STREAMS else f" {self.members[member]}"
        place = f"layer {self.layers[at[0]]}{own} at {self.positions[position]} {self.tokens[position]!r}"
        return f"<Sweep of {self.kind}, {pieces} pieces: the metric goes from {ends}; most at {place}: {most:+.2f}>"

    @property
    def recovered(self) -> Float[Tensor, "layer member position"]:
        """The share of the way from base to source that each piece goes, of the mean over the prompts that have it.

        NaN where the two runs do not differ enough for shares: there is no way to go then.
        """
        effect, there = self.effect, ~self.values[0, 0].isnan()
        shares = torch.full_like(effect, torch.nan)
        for prompts in there.unique(dim=0):  # type: ignore[no-untyped-call]
            at = (there == prompts).all(1)
            whole = float((self.source - self.base)[prompts].mean())
            if divides(whole, effect[:, :, at].flatten().tolist()):
                shares[:, :, at] = effect[:, :, at] / whole
        return shares

    @property
    def effect(self) -> Float[Tensor, "layer member position"]:
        """What each piece adds to the metric of the base run, of the mean over the prompts that have it."""
        return (self.values - self.base).nanmean(-1)

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a piece, the largest effect first; `recovered` is None where the two runs do not differ."""
        effect, recovered = self.effect, self.recovered
        order = effect.abs().flatten().argsort(descending=True).tolist()
        lines = []
        for at in order:
            layer, rest = divmod(at, effect[0].numel())
            member, position = divmod(rest, effect.shape[2])
            place: dict[str, Any] = {
                "layer": self.layers[layer],
                "position": self.positions[position],
                "token": self.tokens[position],
            }
            if self.kind not in STREAMS:
                place["neuron" if self.kind == "neuron" else "head"] = self.members[member]
            figures = {"effect": effect[layer, member, position], "recovered": recovered[layer, member, position]}
            lines.append(place | {name: finite(float(value)) for name, value in figures.items()})
        return lines


STREAMS: tuple[SiteAt, ...] = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


def sweep(
    subject: Subject,
    base: Text,
    source: Text,
    metric: Metric,
    kind: str = "resid_pre",
    *,
    layers: Iterable[int] | None = None,
    members: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    tokens: int = TOKENS,
) -> Sweep:
    """Run `base` with each piece of `source` patched in, alone, and read `metric`.

    `kind` says what a piece is: the stream at one layer and position (`resid_pre`, `resid_mid`, `resid_post`), what a
    layer writes there (`attn_out`, `mlp_out`), a head's `z`, `q`, `k`, `v` or `pattern` (by its query) there, or a
    `neuron`. `layers`, `members` (heads or neurons; of `k` and `v` groups, where heads share them) and `positions`
    restrict the sweep; positions behind the one that the metric reads change nothing and are left out. About `tokens`
    tokens are computed at a time. A decompiled program runs whole from the patched layer on.

    Prompts may differ in length, the two of a pair may not. Positions count from each prompt's start, negative ones
    from its end.

    Source: activation patching (Meng et al., 2022, arXiv 2202.05262; Zhang & Nanda, 2023, arXiv 2309.16042).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        base: The prompts that are run.
        source: What pieces are taken from; a pair is of one length.
        metric: What is measured, a number a prompt, such as `logit_difference`.
        kind: What a piece is: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`, `z`, `q`, `k`, `v`,
            `pattern` or `neuron`.
        layers: The layers; all without it.
        members: The heads or neurons; all without it.
        positions: The positions; all up to the one that is read without it.
        tokens: About how many tokens are computed at a time.

    Returns:
        The metric by layer, member, position and prompt, with what it is in both runs.

    Raises:
        PellucidError: An unknown kind, a layer, member or position that is not there, or prompts that do not fit each
            other; a prompt that the subject cannot read: empty, longer than its context, or a word or id that it does
            not have.
    """
    model = model_of(subject)
    if kind not in KINDS:
        raise PellucidError(f"{kind!r} cannot be swept{closest(kind, list(KINDS)) or f'; expected {KINDS}'}")
    groups = paired(model, base, source, metric)
    sizes, layers_there = model.decoder.sizes, model.decoder.layers
    counts = {"neuron": sizes.neuron, "k": sizes.group, "v": sizes.group} | dict.fromkeys(STREAMS, 1)
    count = counts.get(kind, sizes.head)
    pieces = (
        tuple(index_of(at, layers_there, "layer") for at in (range(layers_there) if layers is None else layers)),
        tuple(index_of(at, count, "head or neuron") for at in (range(count) if members is None else members)),
    )
    shown = _labels(groups, positions)
    prompts = sum(len(group) for group in groups)
    values = torch.full((*map(len, pieces), len(shown), prompts), torch.nan)
    ends = torch.empty(2, prompts)
    texts: dict[int, tuple[int, str]] = {}
    for group in groups:
        own = {n: at for n, label in enumerate(shown) if (at := _own(label, group, positions is None)) is not None}
        plan = _Plan(kind, *pieces, tuple(own.values()))
        run = _Restarting if isinstance(subject, Model) and restarts(model.decoder) else _Whole
        runner = run(subject, group.base, group.source, group.metric, plan)
        with torch.no_grad():
            values[:, :, torch.tensor(list(own))[:, None], group.numbers] = runner.run(tokens)
        ends[:, group.numbers] = torch.stack([runner.base_value.cpu(), runner.source_value.cpu()])
        words = token_texts(model, group.base[0])
        for n, at in own.items():
            texts[n] = min(texts.get(n, (prompts, "")), (int(group.numbers[0]), words[at]))
    labels = shown if len(groups) > 1 else [list(own.values())[n] for n in range(len(shown))]
    return Sweep(kind, *pieces, tuple(labels), tuple(texts[n][1] for n in range(len(shown))), values, *ends)


def _labels(groups: Sequence[Pairs], positions: Iterable[int] | None) -> list[int]:
    """The positions of a sweep: those asked for, or all up to what is read, from the end where lengths differ."""
    if positions is not None:
        return list(positions)
    longest = groups[0].base.shape[1]
    shift = 0 if groups[-1].base.shape[1] == longest else longest + groups[0].behind
    return [at - shift for at in range(longest)]


def _own(label: int, group: Pairs, spare: bool) -> int | None:
    """A position counted from the start of a group's prompts; None (if `spare`) where they have no such.

    Raises `PellucidError` for one that is asked for and not there, or behind what is read, where it changes nothing.
    """
    size, behind = group.base.shape[1], group.behind
    if spare and label < 0 and label + size + behind < 0:
        return None
    at = index_of(label, size + behind, "position")
    if at >= size:
        raise PellucidError(
            f"position {label} is behind the one that the metric reads ({size - 1}): it changes nothing"
        )
    return at


@dataclass(frozen=True)
class _Plan:
    kind: SiteAt
    layers: tuple[int, ...]
    members: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Variants:
    """Some variants: the number of each in the result, its layer, head or neuron, position and prompt."""

    number: Int[Tensor, " n"]
    layer: Int[Tensor, " n"]
    member: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    row: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.number)

    def pick(self, at: Tensor | slice) -> _Variants:
        return _Variants(self.number[at], self.layer[at], self.member[at], self.position[at], self.row[at])


def _all_variants(plan: _Plan, prompts: int) -> _Variants:
    axes = [torch.tensor(axis) for axis in (plan.layers, plan.members, plan.positions)]
    grids = torch.meshgrid(*axes, torch.arange(prompts), indexing="ij")
    layer, member, position, row = (grid.flatten() for grid in grids)
    return _Variants(torch.arange(len(layer)), layer, member, position, row)


class _Restarting:
    """Runs the variants of an exact model, each from where it begins to differ."""

    def __init__(self, model: Subject, ids: Tensor, other: Tensor, metric: Metric, plan: _Plan) -> None:
        model = model_of(model)
        self.model, self.metric, self.plan = model, metric, plan
        self.graph = fuse(model.graph)
        self.last, self.read = model.decoder.layers, ids.shape[1] - 1
        names = [f"L{layer:02d}.{name}" for layer in range(self.last) for name in ("resid_pre", "q", "keys", "values")]
        end = model.last_resid
        own = needed(plan.kind, plan.layers)
        self.base = model.run(ids, tuple(dict.fromkeys((*names, *own.base, end, "final"))))
        found = model.run(other, (*own.source, "final"))
        self.single = Single(model, self.graph, plan.kind, self.base, found)
        self.rows = torch.arange(len(ids), device=model.device)
        self.base_value = self._value(self.base["final"][:, -1], self.rows)
        self.source_value = self._value(found["final"][:, -1], self.rows)
        self.prompts = len(ids)

    def _value(self, final: Float[Tensor, "n model"], rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.metric(self.model, final, rows).float()

    def run(self, tokens: int) -> Float[Tensor, "layer member position prompt"]:
        """All values. Variants that cannot change what is read keep the base run's."""
        variants = _all_variants(self.plan, self.prompts)
        values = self.base_value.cpu()[variants.row].clone()
        joins = variants.layer + self.single.joins_above
        work = variants.pick((joins < self.last) | (variants.position == self.read))
        for group in track(self._groups(work), f"patching {self.plan.kind}"):
            first = int(group.position.min())
            width = self.read + 1 - first
            for found in in_batches(
                len(group),
                max(1, min(tokens // width, max(ENOUGH // width, KEYS // (self.read + 1)))),
                lambda at, group=group, first=first: self._batch(group.pick(at), first),  # type: ignore[misc]
                "variants",
            ):
                values[found[0]] = found[1].cpu()
        sizes = (len(self.plan.layers), len(self.plan.members), len(self.plan.positions), self.prompts)
        return values.view(sizes)

    def _groups(self, work: _Variants) -> list[_Variants]:
        """Variants of neighbouring positions, in order of layer: as few positions as fill a batch."""
        groups, held = [], torch.zeros(len(work), dtype=torch.bool)
        for position in sorted(set(self.plan.positions), reverse=True):
            held |= work.position == position
            width = self.read + 1 - position
            # Layers join one by one, so that half of the variants run on average.
            if position != min(self.plan.positions) and int(held.sum()) * width < 2 * ENOUGH:
                continue
            if held.any():
                order = work.layer[held].argsort(stable=True)
                groups.append(work.pick(held.nonzero()[:, 0][order]))
            held = torch.zeros_like(held)
        return groups

    def _batch(self, variants: _Variants, first: int) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """The numbers and values of `variants`, run from position `first` on; sorted by layer."""
        joins = variants.layer + self.single.joins_above
        stream: Tensor | None = None
        for layer in range(int(joins.min()), self.last):
            new = variants.pick(joins == layer)
            old = variants.pick(joins < layer)
            stream = self._layer(layer, stream, old, new, first)
        late = variants.pick(joins == self.last)
        ends = [] if stream is None else [stream[:, -1]]
        if len(late):
            ends.append(self.single.stream(late.layer, late.member, late.position, late.row))
        end = {self.model.last_resid: torch.cat(ends)[:, None]}
        final = self.graph.run(self.model.weights, end, ("final",))["final"][:, 0]
        return variants.number, self._value(final, variants.row.to(final.device))

    def _layer(
        self, layer: int, stream: Tensor | None, old: _Variants, new: _Variants, first: int
    ) -> Float[Tensor, "n pos model"]:
        """The stream behind `layer` for those that ran before and those that join, from position `first` on."""
        at, weights = f"L{layer:02d}", self.model.weights
        rows = torch.cat([old.row, new.row])
        given = {name: self.base[f"{at}.{name}"][rows] for name in ("keys", "values")}
        streams, queries = [], []
        if stream is not None and len(old):
            positions = torch.arange(first, self.read + 1, device=stream.device)[None]
            read = {f"{at}.resid_pre": stream, "positions": positions}
            found = self.graph.run(weights, read, (f"{at}.q", f"{at}.k", f"{at}.v"))
            for name, own in (("keys", "k"), ("values", "v")):
                given[name][: len(old), :, first:] = self.single.for_heads(found[f"{at}.{own}"]).transpose(1, 2)
            streams.append(stream)
            queries.append(found[f"{at}.q"])
        if len(new):
            keys, values = (value[len(old) :] for value in given.values())
            joined = self.single.joining(layer, new.layer, new.member, new.position, new.row, first, keys, values)
            streams.append(joined[0])
            queries.append(joined[1])
        given |= {"resid_pre": torch.cat(streams), "q": torch.cat(queries)}
        places = self.read + 1
        if layer == self.last - 1:
            given |= {name: given[name][:, -1:] for name in ("resid_pre", "q")}
        inputs: dict[str, Any] = {f"{at}.{name}": value for name, value in given.items()}
        inputs["mask"] = causal_mask(given["q"].shape[1], places, self.model.dtype, self.model.device)
        return self.graph.run(weights, inputs, (f"{at}.resid_post",))[f"{at}.resid_post"]


class _Whole:
    """Runs the variants of a program: all positions, from the bottom, with everything that the program replaces."""

    def __init__(self, subject: Subject, ids: Tensor, other: Tensor, metric: Metric, plan: _Plan) -> None:
        self.subject, self.model, self.metric, self.plan = subject, model_of(subject), metric, plan
        self.ids = ids
        own = {"neuron": "post", "z": heads_write(self.model)}.get(plan.kind, plan.kind)
        self.names = [f"L{layer:02d}.{own}" for layer in plan.layers]
        self.source = self.model.run(other, (*self.names, "final"), edits=edits_of(subject, other))
        base = self.model.run(ids, ("final",), edits=edits_of(subject, ids))
        rows = torch.arange(len(ids), device=self.model.device)
        self.base_value = metric(self.model, base["final"][:, -1], rows).float()
        self.source_value = metric(self.model, self.source["final"][:, -1], rows).float()

    def run(self, tokens: int) -> Float[Tensor, "layer member position prompt"]:
        """All values, layer by layer."""
        variants = _all_variants(self.plan, len(self.ids))
        values = torch.empty(len(variants))
        for layer, name in zip(track(self.plan.layers, f"patching {self.plan.kind}"), self.names, strict=True):
            own = variants.pick(variants.layer == layer)
            size = max(1, tokens // self.ids.shape[1])
            found = in_batches(len(own), size, lambda at, own=own, name=name: self._batch(own.pick(at), name))  # type: ignore[misc]
            values[own.number] = torch.cat(list(found)).cpu()
        sizes = (len(self.plan.layers), len(self.plan.members), len(self.plan.positions), len(self.ids))
        return values.view(sizes)

    def _batch(self, variants: _Variants, name: str) -> Float[Tensor, " n"]:
        ids, source = self.ids[variants.row], self.source[name]
        here = torch.arange(len(variants))
        pairs = name.endswith(".pattern")

        def put(x: Tensor) -> Tensor:
            x = x.clone()
            if self.plan.kind in STREAMS:
                x[here, variants.position] = source[variants.row, variants.position]
            elif pairs:
                x[here, variants.member, variants.position] = source[variants.row, variants.member, variants.position]
            else:
                x[here, variants.position, variants.member] = source[variants.row, variants.position, variants.member]
            return x

        edits = dict(edits_of(self.subject, ids))
        before = edits.get(name)
        edits[name] = put if before is None else lambda x: put(before(x))
        final = self.model.run(ids, ("final",), edits=edits)["final"][:, -1]
        return self.metric(self.model, final, variants.row.to(final.device)).float()

"""Fast estimates of what patching would do, from gradients: two forward passes and one backward for everything at once.

- Attribution patching (Nanda, 2023): a piece's change times the gradient there.
- Edge attribution patching (Syed et al., 2023, arXiv 2310.10348): a writer's change times the gradient at a reader.
- Integrated gradients (EAP-IG, Hanna et al., 2024, arXiv 2403.17806): the gradient is averaged over inputs between the
  two runs' embeddings.
- RelP-style rules (arXiv 2508.21258; layer-wise relevance propagation): gradients flow through norms as if their scale
  were a constant, and through a neuron's activation function as if it were the line through 0 (slope post / pre).

Each can be held against exact patching: `agreement` gives the correlations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError, closest
from pellucid.engine.metrics import Metric
from pellucid.engine.pairs import CutMetric, Pairs, paired
from pellucid.engine.shares import divides
from pellucid.engine.subjects import Subject, Text, edits_of, model_of
from pellucid.engine.sweep import KINDS, STREAMS
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.exact.norms import NormView
from pellucid.measure.correlation import pearson, spearman
from pellucid.study.wiring import Wiring

Method = Literal["gradient", "ig", "relp"]
METHODS: tuple[Method, ...] = get_args(Method)
STEPS = 5
"""Points between the two runs that integrated gradients average over: the middles of as many equal stretches."""


def estimate(
    subject: Subject,
    base: Text,
    source: Text,
    metric: Metric,
    kind: str = "resid_pre",
    method: str = "gradient",
    steps: int = STEPS,
) -> Float[Tensor, "layer member position prompt"]:
    """What `sweep` of the same `kind` would measure minus the base run's metric, estimated by `method`.

    Positions behind the one that the metric reads are left out, as there. Prompts of different lengths are aligned at
    that one, with NaN where a prompt has no token.

    Sources: attribution patching (Syed et al., 2023, arXiv 2310.10348), integrated gradients (Sundararajan et al.,
    2017, arXiv 1703.01365), RelP (arXiv 2508.21258).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        base: The prompts that are patched.
        source: What pieces are taken from, of the same lengths.
        metric: What is measured, a number a prompt, such as `logit_difference`.
        kind: What a piece is, as in `sweep`.
        method: `gradient`, `ig` or `relp`.
        steps: Points of the path, of `ig`.

    Returns:
        Estimated changes of the metric, [layer, member, position, prompt].

    Raises:
        PellucidError: An unknown kind or method, fewer than one step, or prompts that do not fit each other; a prompt
            that the subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    model = model_of(subject)
    if kind not in KINDS:
        raise PellucidError(f"{kind!r} cannot be estimated{closest(kind, list(KINDS)) or f'; expected {KINDS}'}")
    groups = paired(model, base, source, metric)
    parts = [_estimated(subject, group, kind, method, steps) for group in groups]
    if len(parts) == 1:
        return parts[0]
    prompts = sum(len(group) for group in groups)
    whole = parts[0].new_full((*parts[0].shape[:3], prompts), torch.nan)
    for group, part in zip(groups, parts, strict=True):
        whole[:, :, whole.shape[2] - part.shape[2] :, group.numbers.to(whole.device)] = part
    return whole


def _estimated(
    subject: Subject, pairs: Pairs, kind: str, method: str, steps: int
) -> Float[Tensor, "layer member position prompt"]:
    """The estimates for pairs of one length."""
    model, ids, other, metric = model_of(subject), pairs.base, pairs.source, pairs.metric
    names = [f"L{layer:02d}.{'post' if kind == 'neuron' else kind}" for layer in range(model.decoder.layers)]
    with torch.no_grad():
        values = [model.run(rows, tuple(names), edits=edits_of(subject, rows)) for rows in (ids, other)]
    gradients = _mean_gradients(subject, ids, other, names, metric, method, steps)
    products = torch.stack([(values[1][name] - values[0][name]) * gradients[name] for name in names])
    if kind in STREAMS:
        return products.sum(-1)[:, None].permute(0, 1, 3, 2).float()
    if kind == "pattern":
        return products.sum(-1).permute(0, 2, 3, 1).float()
    if kind == "neuron":
        return products.permute(0, 3, 2, 1).float()
    return products.sum(-1).permute(0, 3, 2, 1).float()


@dataclass(frozen=True)
class Completeness:
    """Whether attributions add up: `attributed` at the embeddings, beside `difference`, what the metric changes by.

    Integrated gradients come arbitrarily near with more steps; a single gradient need not.
    """

    attributed: float
    """What attributions at the embeddings add up to, the mean over prompts, in the metric's unit."""
    difference: float
    """What the metric changes by from source to base."""
    steps: int
    """The points of the path."""

    @property
    def missed(self) -> float | None:
        """The share of the difference that the attributions miss (negative: too much); None where it is near zero."""
        left = self.difference - self.attributed
        return left / self.difference if divides(self.difference, [left]) else None


def completeness(
    subject: Subject, base: Text, source: Text, metric: Metric, method: str = "ig", steps: int = STEPS
) -> Completeness:
    """By how much estimates of this `method` miss what they should add up to: mean over prompts, at the embeddings.

    Source: the axiom of that name (Sundararajan et al., 2017, arXiv 1703.01365).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        base: The prompts that are explained: text, texts or ids.
        source: What they are held against, of the same lengths.
        metric: What is measured, a number a prompt, such as `logit_difference`.
        method: `gradient`, `ig` (integrated gradients) or `relp`.
        steps: Points of the path from source to base.

    Returns:
        What attributions add up to beside what the metric changes by, and the share that is missed.

    Raises:
        PellucidError: An unknown method, fewer than one step, or prompts that do not fit each other; a prompt that the
            subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    attributed = difference = 0.0
    groups = paired(model_of(subject), base, source, metric)
    for group in groups:
        attributed += float(_estimated(subject, group, "resid_pre", method, steps)[0].sum())
        difference += _value(subject, group.source, group.metric) - _value(subject, group.base, group.metric)
    count = sum(len(group) for group in groups)
    return Completeness(attributed / count, difference / count, len(list(_points(method, steps))))


@torch.no_grad()
def _value(subject: Subject, ids: Int[Tensor, "batch pos"], metric: Metric) -> float:
    """The metric of the last position of prompts, summed."""
    model = model_of(subject)
    final = model.run(ids, ("final",), edits=edits_of(subject, ids))["final"][:, -1]
    return float(metric(model, final, torch.arange(len(ids), device=model.device)).double().sum())


@dataclass(frozen=True)
class EdgeScores:
    """For each edge, what the metric would lose if it carried the corrupted run's message: the mean over prompts.

    `completeness` says by how much attributions by this method, at the embeddings, miss what they should add up to.
    """

    wiring: Wiring
    """The writers and readers that edges join."""
    scores: Float[Tensor, "writer reader"] = field(repr=False)
    """The score of each edge, in the metric's unit; 0 where there is none."""
    method: str
    """`gradient`, `ig` or `relp`."""
    completeness: Completeness | None = None

    def __repr__(self) -> str:
        table = self.table
        most = ", ".join(f"{line['from']} → {line['to']} {line['score']:+.2f}" for line in table[:3])
        left = None if self.completeness is None else self.completeness.missed
        missed = "" if left is None else f"; at the embeddings {100 * left:.1f} % of the difference is missed"
        return f"<EdgeScores of {len(table)} edges by {self.method!r}; most: {most}{missed}>"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line an edge, the largest score (in absolute value) first."""
        at = self.wiring.real.nonzero()
        order = self.scores[at[:, 0], at[:, 1]].abs().argsort(descending=True)
        return [
            self.wiring.told(writer, reader) | {"score": float(self.scores[writer, reader])}
            for writer, reader in at[order].tolist()
        ]


def edge_attribution(
    subject: Subject,
    clean: Text,
    corrupted: Text,
    metric: Metric,
    method: str = "ig",
    steps: int = STEPS,
    prompts: int = 8,
) -> EdgeScores:
    """The score of every edge: (clean − corrupted message) · gradient of the metric at the reader's input.

    `gradient` is EAP, `ig` EAP-IG with `steps` points; `prompts` are worked on at a time.

    Sources: EAP (Syed et al., 2023, arXiv 2310.10348), EAP-IG (Hanna et al., 2024, arXiv 2403.17806), RelP (arXiv
    2508.21258).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        clean: Prompts with the behaviour.
        corrupted: The same prompts without it, of the same lengths.
        metric: What is measured, a number a prompt, such as `logit_difference`.
        method: `gradient` (EAP), `ig` (EAP-IG) or `relp`.
        steps: Points of the path, of `ig`.
        prompts: Prompts that are worked on at a time.

    Returns:
        A score for every edge and prompt, in the metric's unit.

    Raises:
        PellucidError: An unknown method, fewer than one step, or prompts that do not fit each other; a prompt that the
            subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    groups = paired(model_of(subject), clean, corrupted, metric)
    return pooled([(_edge_scores(subject, group, method, steps, prompts), len(group)) for group in groups])


def _edge_scores(subject: Subject, pairs: Pairs, method: str, steps: int, prompts: int) -> EdgeScores:
    """The scores of pairs of one length, `prompts` at a time."""
    model = model_of(subject)
    wiring = Wiring.of(model.decoder)
    total = torch.zeros(len(wiring.writers), len(wiring.readers), device=model.device)
    attributed = difference = 0.0
    for start in range(0, len(pairs), prompts):
        at = slice(start, start + prompts)
        own = CutMetric(pairs.metric.metric, pairs.numbers[at])
        scores, at_embeddings = _edges(subject, pairs.base[at], pairs.source[at], own, method, steps)
        total += scores
        attributed += at_embeddings
        difference += _value(subject, pairs.base[at], own) - _value(subject, pairs.source[at], own)
    held = Completeness(attributed / len(pairs), difference / len(pairs), len(list(_points(method, steps))))
    return EdgeScores(wiring, (total / len(pairs)).float().cpu(), method, held)


def pooled(parts: Sequence[tuple[EdgeScores, int]]) -> EdgeScores:
    """The scores of all prompts together, from those of groups of so many prompts."""
    count = sum(size for _, size in parts)
    first = parts[0][0]
    scores = torch.stack([part.scores * size for part, size in parts]).sum(0) / count
    held = [(part.completeness, size) for part, size in parts if part.completeness is not None]
    attributed, difference = (
        sum(size * (one.attributed, one.difference)[side] for one, size in held) / count for side in (0, 1)
    )
    whole = Completeness(attributed, difference, held[0][0].steps) if len(held) == len(parts) else None
    return EdgeScores(first.wiring, scores, first.method, whole)


@torch.no_grad()
def messages(subject: Subject, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "writer batch pos model"]:
    """What every writer says: the embedding, each head (without the layer's bias), each MLP (with its bias)."""
    model = model_of(subject)
    wiring = Wiring.of(model.decoder)
    said = torch.empty(
        len(wiring.writers), *ids.shape, model.decoder.sizes.model, dtype=model.dtype, device=model.device
    )
    edits = dict(edits_of(subject, ids))

    def keep(name: str, at: int | slice, order: tuple[int, ...]) -> None:
        before = edits.get(name)

        def edit(x: Tensor) -> Tensor:
            x = x if before is None else before(x)
            said[at] = x.permute(order)
            return x

        edits[name] = edit

    keep("L00.resid_pre", 0, (0, 1, 2))
    for layer in range(wiring.layers):
        keep(f"L{layer:02d}.head_writes", wiring.heads_at(layer), (2, 0, 1, 3))
        keep(f"L{layer:02d}.mlp_out", wiring.mlp_at(layer), (0, 1, 2))
    behind = behind_heads(model)
    sums = [f"L{layer:02d}.attn_sum" for layer in behind]
    run = model.run(ids, (model.last_resid, *sums), edits=edits)
    for (layer, norm), name in zip(behind.items(), sums, strict=True):
        said[wiring.heads_at(layer)] = norm(said[wiring.heads_at(layer)], run[name])
    return said


@dataclass(frozen=True)
class NormedHeads:
    """What heads say whose writes are normed together: each its write, and an equal share of the layer's bias."""

    norm: NormView
    share: Float[Tensor, " model"] | float

    def __call__(
        self, writes: Float[Tensor, "head batch pos model"], total: Float[Tensor, "batch pos model"]
    ) -> Float[Tensor, "head batch pos model"]:
        """What comes of the `writes`, given the scale of the `total`."""
        return self.norm.part(writes + self.share, self.norm.scale(total))


def behind_heads(model: Model) -> dict[int, NormedHeads]:
    """The layers whose heads' writes are normed before they are added to the stream."""
    views, heads = map(model.layer, range(model.decoder.layers)), model.decoder.sizes.head
    shares = ((view, 0.0 if view.out_bias is None else view.out_bias / heads) for view in views)
    return {view.layer: NormedHeads(view.behind, share) for view, share in shares if view.behind}


def _edges(
    subject: Subject, ids: Tensor, other: Tensor, metric: Metric, method: str, steps: int
) -> tuple[Float[Tensor, "writer reader"], float]:
    """Scores summed over some prompts, and the attribution of all that the embeddings say."""
    model = model_of(subject)
    wiring = Wiring.of(model.decoder)
    layers = range(model.decoder.layers)
    said = messages(subject, ids).sub_(messages(subject, other)).flatten(1)
    slopes = torch.zeros(len(wiring.writers), len(wiring.readers), device=model.device)
    reads = {part: part if f"L00.{part}_raw" not in model.graph else f"{part}_raw" for part in "qkv"}
    middle = "resid_pre" if wiring.parallel else "resid_mid"
    names = [f"L{layer:02d}.{name}" for layer in layers for name in (*reads.values(), "LN2")] + ["final"]
    extra = [f"L{layer:02d}.{name}" for layer in layers for name in ("resid_pre", middle)] + [model.last_resid]
    points = list(_points(method, steps))
    attributed = 0.0
    for share in points:
        with_edits = _between(subject, ids, other, share)
        gradients, values = _gradients(
            subject, ids, ["L00.resid_pre", *names], metric, with_edits, extra, frozen=method == "relp"
        )
        attributed += float(said[0] @ gradients["L00.resid_pre"].flatten())
        for layer in layers:
            at, own = f"L{layer:02d}", model.layer(layer)
            for part, per_head in (("q", own.query), ("k", own.key), ("v", own.value)):
                back = torch.einsum("bphd,mhd->hbpm", gradients[f"{at}.{reads[part]}"], per_head)
                back = own.norm1.pull_back(back, values[f"{at}.resid_pre"], frozen=method == "relp")
                before = wiring.before(layer, part)
                slopes[:before, wiring.reads_at(layer, part)] += said[:before] @ back.flatten(1).T
            behind, before_it = gradients[f"{at}.LN2"], values[f"{at}.{middle}"]
            back = own.norm2.pull_back(behind, before_it, frozen=method == "relp")
            before = wiring.before(layer, "mlp")
            slopes[:before, wiring.reads_at(layer, "mlp")] += said[:before] @ back.flatten()[:, None]
        back = model.final_norm.pull_back(gradients["final"], values[model.last_resid], frozen=method == "relp")
        slopes[:, -1:] += said @ back.flatten()[:, None]
    return slopes / len(points), attributed / len(points)


# --- gradients --------------------------------------------------------------------------------------------------------


def _points(method: str, steps: int) -> Iterator[float]:
    """How far from the source's to the base's embeddings gradients are taken; 1 is the base run."""
    if method not in METHODS:
        raise PellucidError(f"{method!r} is no method{closest(method, list(METHODS)) or f'; expected {METHODS}'}")
    if steps < 1:
        raise PellucidError(f"steps is {steps}, expected at least 1")
    yield from ([1.0] if method != "ig" else [(step + 0.5) / steps for step in range(steps)])


def _between(subject: Subject, ids: Tensor, other: Tensor, share: float) -> dict[str, Edit]:
    """Edits that start a run `share` of the way from `other` to `ids`."""
    edits = dict(edits_of(subject, ids))
    if share == 1:
        return edits
    with torch.no_grad():
        far = model_of(subject).run(other, ("EMB.TOK",))["EMB.TOK"]
    edits["EMB.TOK"] = lambda x: far + share * (x - far)
    return edits


def _mean_gradients(
    subject: Subject, ids: Tensor, other: Tensor, names: Sequence[str], metric: Metric, method: str, steps: int
) -> dict[str, Tensor]:
    points = list(_points(method, steps))
    total: dict[str, Tensor] = {}
    for share in points:
        edits = _between(subject, ids, other, share)
        found, _ = _gradients(subject, ids, names, metric, edits, (), frozen=method == "relp")
        total = {name: total[name] + value if total else value for name, value in found.items()}
    return {name: value / len(points) for name, value in total.items()}


def _gradients(
    subject: Subject,
    ids: Tensor,
    names: Sequence[str],
    metric: Metric,
    edits: Mapping[str, Edit],
    extra: Sequence[str],
    *,
    frozen: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the metric at the last position, summed over prompts, at `names`, and the values of `extra`.

    `frozen` applies the rules of relevance.
    """
    model = model_of(subject)
    edits = dict(edits)
    if frozen:
        edits |= _rules(model, edits)
    for name in names:
        edits[name] = _leaf_after(edits.get(name))
    rows = torch.arange(len(ids), device=model.device)
    with torch.enable_grad():
        values = model.run(ids, tuple(dict.fromkeys((*names, *extra, "final"))), edits=edits)
        value = metric(model, values["final"][:, -1], rows).sum()
        found = torch.autograd.grad(value, [values[name] for name in names], allow_unused=True)
    pairs = zip(names, found, strict=True)
    gradients = {name: torch.zeros_like(values[name]) if g is None else g for name, g in pairs}
    return gradients, {name: values[name].detach() for name in extra}


def _rules(model: Model, edits: Mapping[str, Edit]) -> dict[str, Edit]:
    """Edits that change no value: scales of norms carry no gradient, activation functions that of post / pre."""
    changed: dict[str, Edit] = {"final.scale": torch.detach}
    for layer in range(model.decoder.layers):
        at = f"L{layer:02d}"
        changed |= {f"{at}.LN1.scale": torch.detach, f"{at}.LN2.scale": torch.detach}
        changed |= _line(at, edits.get(f"{at}.pre"))
    return changed


def _line(at: str, before: Edit | None) -> dict[str, Edit]:
    held: list[Tensor] = []

    def pre(x: Tensor) -> Tensor:
        held[:] = [x if before is None else before(x)]
        return held[0]

    def post(y: Tensor) -> Tensor:
        (x,) = held
        near_zero = x.abs() < 1e-6
        slope = torch.where(near_zero, 0.5, y / torch.where(near_zero, 1.0, x)).detach()
        straight = x * slope
        return straight + (y - straight).detach()

    return {f"{at}.pre": pre, f"{at}.post": post}


def _leaf_after(before: Edit | None) -> Edit:
    def edit(x: Tensor) -> Tensor:
        x = x if before is None else before(x)
        return x if x.requires_grad else x.detach().requires_grad_()

    return edit


# --- against exact patching -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How estimates compare with exact effects: correlations of values and of ranks over `n` pieces.

    Equal values share the mean of their ranks. None where there are fewer than three pieces, or all are alike.
    """

    pearson: float | None
    """The correlation of values, from −1 to 1."""
    spearman: float | None
    """The correlation of ranks, from −1 to 1."""
    n: int
    """How many pieces were compared."""


def agreement(estimates: Tensor, exact: Tensor) -> Agreement:
    """The correlation between estimated and exact effects of the same shape.

    Args:
        estimates: Estimated effects, of any shape.
        exact: Exact effects of the same shape.

    Returns:
        Correlations of values and of ranks, from −1 to 1; None of fewer than three pieces, or of what is constant.

    Raises:
        PellucidError: Two shapes that differ.
    """
    if estimates.shape != exact.shape:
        raise PellucidError(f"estimates have shape {list(estimates.shape)}, exact effects {list(exact.shape)}")
    pair = [side.detach().flatten().double().cpu() for side in (estimates, exact)]
    return Agreement(pearson(*pair), spearman(*pair), pair[0].numel())

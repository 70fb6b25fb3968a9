"""Where training begins: layer after layer fitted to the subject's own patterns and activations, few numbers each.

Everything is linear least squares on the program's own inputs, so that later layers see what earlier sources make of
the text; only patterns are fitted by descent, from where the weights of queries and keys put them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.match.record import batches
from pellucid.match.understand.kinds import first_kinds, varimax
from pellucid.match.understand.plan import FIT_TOKENS, Plan
from pellucid.match.understand.prune import held, prices, prune
from pellucid.match.understand.sparse import sparse_least_squares
from pellucid.match.understand.student import Reading, Student, edits, new_student, scores_of

ROOM = 5.0
"""What a student holds to begin with, in budgets: what matters least is left to training to find."""
SHARES = {"kinds": 0.25, "heads": 0.15, "values": 0.25, "neurons": 0.2, "findings": 0.15}
"""How that is shared out."""
SPAN_TOKENS = 30_000
_RIDGE = 1e-4
_RATE = 1e-2
_BATCH_TOKENS = 1024
_PRUNE_EVERY = 10
PATTERN_BATCHES = 24

Rows = Int[Tensor, "row pos"]


@dataclass(frozen=True)
class Span:
    """A few directions of a normed stream x: x ≈ rest + ((x − rest) @ read) @ write; what is read has variance 1.

    The rest is the mean, or what the kinds of a place tell: `told`, by 1 and by level.
    """

    told: Float[Tensor, "level model"]
    read: Float[Tensor, "model direction"]
    write: Float[Tensor, "direction model"]

    def targets(self, stream: Float[Tensor, "batch pos model"], levels: Float[Tensor, "batch pos level"]) -> Tensor:
        """What a normed stream has along the directions, [batch, pos, direction]."""
        return stream @ self.read - with_one(levels)[..., : len(self.told)] @ (self.told @ self.read)


def with_one(terms: Float[Tensor, "batch pos term"]) -> Float[Tensor, "batch pos more"]:
    """`terms` behind a column of 1."""
    return torch.cat([torch.ones_like(terms[..., :1]), terms], -1)


def first_student(model: Model, plan: Plan, rows: Rows, token_numbers: Float[Tensor, " vocab"], seed: int) -> Student:
    """A student fitted to the subject part by part on `rows`, the more of them the better."""
    kinds = few_levels(first_kinds(model.weights["wte.weight"], rows, plan.kinds), rows, token_numbers, plan)
    student = new_student(model, plan, kinds, seed)
    few = rows[: max(2, SPAN_TOKENS // rows.shape[1])]
    streams = spans(student, few)
    for layer in track(range(model.config.n_layer), "fitting layers"):
        begin_heads(student, layer, few)
        fit_patterns(student, layer, rows, token_numbers)
        fit_values(student, layer, streams[f"L{layer:02d}.resid_mid"], rows, token_numbers)
        if f"L{layer:02d}.findings" in student.tensors:
            fit_findings(student, layer, streams[f"L{layer:02d}.resid_post"], rows)
    student.masks = {name: (student[name] != 0).to(student[name]) for name in prices(student, token_numbers)}
    return student


def room(plan: Plan, what: str, layers: int) -> float:
    """How many numbers `what` may hold to begin with, in each of the layers."""
    return ROOM * SHARES[what] * plan.budget / layers


def few_levels(
    kinds: Float[Tensor, "vocab kind"], rows: Rows, token_numbers: Float[Tensor, " vocab"], plan: Plan
) -> Float[Tensor, "vocab kind"]:
    """`kinds` without the levels that vary least over the tokens of `rows` for what they cost."""
    frequency = torch.bincount(rows.flatten(), minlength=len(kinds)).to(kinds) + 1
    price = token_numbers.to(kinds)[:, None].expand_as(kinds)
    order = (kinds.square() * frequency[:, None] / price).flatten().argsort(descending=True)
    stays = torch.zeros_like(order, dtype=torch.bool)
    stays[order] = price.flatten()[order].cumsum(0) <= room(plan, "kinds", 1)
    return kinds * stays.reshape(kinds.shape)


# --- what is read of the streams --------------------------------------------------------------------------------------


@torch.no_grad()
def spans(student: Student, rows: Rows) -> dict[str, Span]:
    """For every layer, what is read most of the stream between attention and neurons, and of that behind both.

    Behind both it is what tokens do not tell: what is left of the stream after a regression on the kinds of a place.
    """
    model, plan = student.model, student.plan
    names = [f"L{layer:02d}.resid_{at}" for layer in range(model.config.n_layer) for at in ("mid", "post")][:-1]
    sums = {name: torch.zeros(model.config.n_embd, dtype=torch.float64) for name in names}
    outer = {name: torch.zeros(model.config.n_embd, model.config.n_embd, dtype=torch.float64) for name in names}
    tokens = {name: Moments() for name in names if name.endswith("post")}
    for ids in batches(rows, model.n_vocab):
        seen = model.run(ids.to(model.device), names)
        levels = with_one(Reading(student, ids.to(model.device)).levels)
        for name in tokens:
            tokens[name].add(levels, normed(model, seen[name]))
        for name in names:
            x = normed(model, seen[name]).flatten(0, 1).double().cpu()
            sums[name] += x.sum(0)
            outer[name] += x.T @ x
    found = {}
    for name in names:
        layer, mean = int(name[1:3]), sums[name] / rows.numel()
        spread, told = outer[name] / rows.numel() - mean[:, None] * mean, mean[None]
        if name in tokens:
            told = tokens[name].solved()
            both = tokens[name].products.T @ told
            spread = (outer[name] - (both + both.T) / 2) / rows.numel()
        own = [neuron_reads(model, layer)] if name.endswith("mid") else []
        later = [reads for n in range(layer + 1, model.config.n_layer) for reads in all_reads(model, n)]
        count = plan.values if name.endswith("mid") else plan.findings
        found[name] = leading(told, spread, [reads.double().cpu() for reads in [*own, *later]], count, model)
    return found


def normed(model: Model, stream: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch model"]:
    """The stream as norms see it, before their gains and biases."""
    found: Tensor = torch.nn.functional.layer_norm(stream, stream.shape[-1:], eps=model.config.layer_norm_epsilon)
    return found


def all_reads(model: Model, layer: int) -> Iterator[Float[Tensor, "model read"]]:
    """What the queries, the keys, the values and the neurons of a layer read of the normed stream."""
    gain = model.weights[f"h.{layer}.ln_1.weight"]
    yield from (gain[:, None] * model.weights[f"h.{layer}.attn.c_attn.weight"]).chunk(3, dim=1)
    yield neuron_reads(model, layer)


def neuron_reads(model: Model, layer: int) -> Float[Tensor, "model neuron"]:
    """What the neurons of a layer read of the normed stream, each by the length of what it writes."""
    out = model.weights[f"h.{layer}.mlp.c_proj.weight"].norm(dim=1)
    gain = model.weights[f"h.{layer}.ln_2.weight"]
    found: Tensor = gain[:, None] * model.weights[f"h.{layer}.mlp.c_fc.weight"] * out
    return found


def leading(
    told: Float64[Tensor, "level model"],
    spread: Float64[Tensor, "model model"],
    reads: list[Float64[Tensor, "model _"]],
    count: int,
    model: Model,
) -> Span:
    """The `count` directions from which all `reads` are best guessed, each of these worth the same in all.

    Reduced-rank regression, turned by varimax so that what reads them reads few.
    """
    values, axes = torch.linalg.eigh(spread)
    flat = values <= 1e-6 * values.max()
    lengths = values.clamp(min=0).sqrt().masked_fill(flat, 0.0)
    root = (axes * lengths) @ axes.T
    whiten = (axes * torch.where(flat, 0.0, 1 / lengths.masked_fill(flat, 1.0))) @ axes.T
    said = torch.cat([root @ read / (root @ read).norm().clamp(min=1e-30) for read in reads], 1)
    best = torch.linalg.eigh(said @ said.T).eigenvectors.flip(1)[:, :count]
    best = best @ varimax(said.T @ best)
    pieces = (told, whiten @ best, best.T @ root)
    return Span(*(piece.to(model.device, model.dtype) for piece in pieces))


# --- heads ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def begin_heads(student: Student, layer: int, rows: Rows) -> None:
    """Let the heads of a layer seek and offer what their weights say of what is known of a place.

    The normed stream is regressed on that; a head's scores are then a bilinear form of query and key, whose leading
    singular vectors are what is sought and offered.
    """
    model, at = student.model, f"L{layer:02d}"
    config, size, sums = model.config, model.config.d_head, Moments()
    for ids in batches(rows, model.n_vocab):
        ids = ids.to(model.device)
        place = known(student, layer, ids).place(layer)
        own = model.run(ids, (f"{at}.LN1",))[f"{at}.LN1"]
        sums.add(with_one(place), own)
    solved = sums.solved().to(model.device, model.dtype)
    mean, write = solved[0], solved[1:]
    weight, bias = (model.weights[f"h.{layer}.attn.c_attn.{name}"] for name in ("weight", "bias"))
    for head in range(config.n_head):
        start = head * size
        query, key = (slice(start + part * config.n_embd, start + part * config.n_embd + size) for part in (0, 1))
        asks, has = write @ weight[:, query], config.attention_scale(layer) * write @ weight[:, key]
        left, right = torch.linalg.qr(asks), torch.linalg.qr(has)
        u, lengths, v = torch.linalg.svd(left.R @ right.R.T)
        rank = min(student.plan.rank, len(lengths))
        root = lengths[:rank].sqrt()
        student.tensors[f"{at}.seeks.query"][head, :rank] = ((left.Q @ u[:, :rank]) * root).T
        student.tensors[f"{at}.seeks.key"][head, :rank] = ((right.Q @ v[:rank].T) * root).T
        student.tensors[f"{at}.offers"][head] = has @ (mean @ weight[:, query] + bias[query])


@torch.no_grad()
def known(student: Student, layer: int, ids: Int[Tensor, "batch pos"]) -> Reading:
    """The student's reading of the rows `ids` up to where the heads of a layer look."""
    reading = Reading(student, ids)
    if layer:
        student.model.run(ids, (f"L{layer - 1:02d}.mlp_out",), edits=edits(reading, range(layer)))
    return reading


def fit_patterns(student: Student, layer: int, rows: Rows, token_numbers: Float[Tensor, " vocab"]) -> None:
    """Fit the heads of a layer to the subject's patterns on `rows`, and leave out what they need least.

    Adam on the KL from the subject's pattern, from what is known of places in the program so far.
    """
    model, plan, at = student.model, student.plan, f"L{layer:02d}"
    batch = max(1, _BATCH_TOKENS // rows.shape[1])
    rows = rows[: min(len(rows), batch * PATTERN_BATCHES)]
    given = list(_given(student, layer, rows, batch))
    names = [f"{at}.{name}" for name in ("curve", "primitives", "offers", "seeks.query", "seeks.key", "seeks.bias")]
    tensors = [student.tensors[name].requires_grad_() for name in names]
    optimiser = torch.optim.Adam(tensors, lr=_RATE, betas=(0.9, 0.98))
    price = {name: value for name, value in prices(student, token_numbers).items() if name in names}
    full, allowed = held(student, price), held(student, {}) + room(plan, "heads", model.config.n_layer)
    steps, dense, end = plan.pattern_steps, plan.pattern_steps // 4, plan.pattern_steps * 3 // 4
    for step in range(steps):
        ids, place, own = given[step % len(given)]
        loss = pattern_kl(own, scores_of(student, layer, ids, place))
        optimiser.param_groups[0]["lr"] = _RATE * 0.1 ** (step / steps)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if dense < step <= end and full > allowed and (step % _PRUNE_EVERY == 0 or step == end):
            squares = {name: optimiser.state[tensor]["exp_avg_sq"] for name, tensor in zip(names, tensors, strict=True)}
            with torch.no_grad():
                prune(student, squares, price, full * (allowed / full) ** ((step - dense) / (end - dense)))
    for name in names:
        student.tensors[name] = student[name].detach()
        student.masks.pop(name, None)


@torch.no_grad()
def _given(student: Student, layer: int, rows: Rows, batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of rows, with what is known of their places before a layer, and with the subject's patterns there."""
    model, at = student.model, f"L{layer:02d}"
    for start in range(0, len(rows), batch):
        ids = rows[start : start + batch].to(model.device)
        yield ids, known(student, layer, ids).place(layer), model.run(ids, [f"{at}.pattern"])[f"{at}.pattern"]


def pattern_kl(
    own: Float[Tensor, "batch head query key"], scores: Float[Tensor, "batch head query key"]
) -> Float[Tensor, ""]:
    """Mean over queries and heads of the KL of the patterns that `scores` make from the heads' own."""
    later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
    said = scores.masked_fill(later, -torch.inf).log_softmax(-1).masked_fill(later, 0)
    divergence: Tensor = (torch.special.xlogy(own, own) - own * said).sum(-1).mean()
    return divergence


# --- values, neurons, findings ----------------------------------------------------------------------------------------


@torch.no_grad()
def fit_values(student: Student, layer: int, span: Span, rows: Rows, token_numbers: Float[Tensor, " vocab"]) -> None:
    """Let a layer's values guess the directions of `span`, and its neurons their own pre-activations from values."""
    model, plan, at = student.model, student.plan, f"L{layer:02d}"
    names = (f"{at}.resid_mid", f"{at}.pre")
    sums = Moments()
    for ids in batches(rows[: max(2, FIT_TOKENS // rows.shape[1])], model.n_vocab):
        ids = ids.to(model.device)
        own = model.run(ids, names)
        reading = Reading(student, ids)
        given = edits(reading, range(layer + 1))
        del given[f"{at}.pre"], given[f"{at}.post"]
        model.run(ids, (f"{at}.attn_out",), edits=given)
        targets = span.targets(normed(model, own[names[0]]), reading.levels)
        sums.add(reading.terms(layer), torch.cat([targets, own[names[1]]], -1))
    price = prices(student, token_numbers)
    layers, width = model.config.n_layer, span.read.shape[1]
    needed = span.write.double().cpu().square().sum(1)
    values = sparse_least_squares(
        sums.squares, sums.products[:, :width], price[f"{at}.values"][:, 0].double().cpu(), needed,
        room(plan, "values", layers),
    )  # fmt: skip
    read = torch.cat([torch.eye(len(values), 1, dtype=torch.float64), values], 1)  # the first term is 1
    out = model.weights[f"h.{layer}.mlp.c_proj.weight"].norm(dim=1).double().cpu().square()
    cost = torch.tensor([0.0, *[float(price[f"{at}.neurons"][0, 0])] * width], dtype=torch.float64)
    neurons = sparse_least_squares(
        read.T @ sums.squares @ read, read.T @ sums.products[:, width:], cost, out, room(plan, "neurons", layers)
    )
    _put(student, {f"{at}.values": values, f"{at}.neurons": neurons[1:], f"{at}.bias": neurons[0]})


@torch.no_grad()
def fit_findings(student: Student, layer: int, span: Span, rows: Rows) -> None:
    """Let a layer's findings guess the directions of `span` from its values and from what its neurons fire."""
    model, plan, at = student.model, student.plan, f"L{layer:02d}"
    sums = Moments()
    for ids in batches(rows[: max(2, FIT_TOKENS // rows.shape[1])], model.n_vocab):
        ids = ids.to(model.device)
        own = model.run(ids, (f"{at}.resid_post",))[f"{at}.resid_post"]
        reading = Reading(student, ids)
        post = model.run(ids, (f"{at}.post",), edits=edits(reading, range(layer + 1)))[f"{at}.post"]
        sums.add(torch.cat([reading.values(layer), post], -1), span.targets(normed(model, own), reading.levels))
    cost = prices(student, torch.ones(model.n_vocab))
    price = torch.cat([cost[f"{at}.findings"][:, 0], cost[f"{at}.fired"][:, 0]]).double().cpu()
    needed = span.write.double().cpu().square().sum(1)
    allowed = room(plan, "findings", model.config.n_layer - 1)
    found = sparse_least_squares(sums.squares, sums.products, price, needed, allowed)
    _put(student, {f"{at}.findings": found[: plan.values], f"{at}.fired": found[plan.values :]})


class Moments:
    """Sums of products of terms with each other and with targets, over text."""

    def __init__(self) -> None:
        self.squares: Float64[Tensor, "term term"] = torch.zeros(0, 0, dtype=torch.float64)
        self.products: Float64[Tensor, "term target"] = torch.zeros(0, 0, dtype=torch.float64)

    def solved(self) -> Float64[Tensor, "term target"]:
        """The best coefficients of all terms."""
        ridge = _RIDGE * self.squares.diagonal().mean() * torch.eye(len(self.squares), dtype=torch.float64)
        found: Tensor = torch.linalg.solve(self.squares + ridge, self.products)
        return found

    def add(self, terms: Float[Tensor, "batch pos term"], targets: Float[Tensor, "batch pos target"]) -> None:
        """Add what a batch says."""
        x, y = terms.flatten(0, 1), targets.flatten(0, 1)
        squares, products = (x.T @ x).double().cpu(), (x.T @ y).double().cpu()
        self.squares = squares if not len(self.squares) else self.squares + squares
        self.products = products if not len(self.products) else self.products + products


def _put(student: Student, found: Mapping[str, Float64[Tensor, ...]]) -> None:
    for name, tensor in found.items():
        student.tensors[name] = tensor.to(student.tensors[name])

"""Where training begins: heads compare what their weights compare, and values guess what neurons and heads read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.exact.rules import head_weights
from pellucid.forms.outputs import causal
from pellucid.measure.record import batches
from pellucid.stages.understand.axes import Axes, along, found_axes, shift
from pellucid.stages.understand.mixed import mixed
from pellucid.stages.understand.prune import term_prices
from pellucid.stages.understand.sparse import lengths, sparse_guesses
from pellucid.stages.understand.student import Student, StudentReading, edits
from pellucid.stages.understand.sweep import ReadingSweep, fired_by

_RIDGE = 1e-4
SPARSE = 2.0
"""What all values may cost to begin with, in budgets of a whole program."""
MOST_TERMS = 4096
"""The most terms that values are fitted over; of more, those that promise most."""
_RATE = 5e-3
_BATCH_TOKENS = 1024
_LEAST = 1e-9
"""The least attention that a pattern is taken to pay, so that its logarithm is finite."""

Rows = Int[Tensor, "row pos"]


def first_sources(student: Student, rows: Rows, steps: int, tokens: int, seed: int) -> None:
    """Fit `student` layer by layer, each on what the layers before it have become; patterns by `steps` of Adam each.

    Values are fitted on `tokens` of `rows`. What neurons read are the values of their layer; late values are what heads
    of the next layer look and move by.
    """
    model, few = student.model, rows[: max(2, tokens // rows.shape[1])]
    axes = found_axes(model, few, student.plan, seed)
    wanted, sweep = along(model, few, axes), ReadingSweep(student, few)
    for layer in track(range(model.decoder.layers), "first sources that understand"):
        if layer:
            late = axes[f"L{layer:02d}.LN1"]
            compare(student, layer, late.write, late.mean, (late.mean - shift(model, f"L{layer:02d}.LN1")) @ late.read)
        else:
            compare(student, layer, *by_kinds(student, few))
        fit_patterns(student, layer, rows, steps)
        sweep.attend(layer)
        fit_values(sweep, layer, axes, wanted)


@torch.no_grad()
def by_kinds(
    student: Student, rows: Rows
) -> tuple[Float[Tensor, "kind model"], Float[Tensor, " model"], Float[Tensor, " kind"]]:
    """What the heads of the first layer read of each kind and on average, by ridge regression; and the mean levels."""
    model, kinds = student.model, student.kinds()
    levels, normed = (torch.cat(pieces) for pieces in zip(*_first_reads(model, rows, kinds), strict=True))
    middle, mean = levels.mean(0), normed.mean(0)
    squares = levels.T @ levels / len(levels) - middle[:, None] * middle
    squares.diagonal().add_(_RIDGE * squares.diagonal().mean())
    return torch.linalg.solve(squares, levels.T @ (normed - mean) / len(levels)), mean, middle


def _first_reads(model: Model, rows: Rows, kinds: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Levels of kinds and what the heads of the first layer read, by batches of tokens."""
    for ids in batches(rows, model.n_vocab):
        normed = model.run(ids.to(model.device), ["L00.LN1"])["L00.LN1"]
        yield kinds[ids.to(model.device)].flatten(0, 1), normed.flatten(0, 1)


@torch.no_grad()
def compare(
    student: Student,
    layer: int,
    write: Float[Tensor, "direction model"],
    mean: Float[Tensor, " model"],
    middle: Float[Tensor, " direction"],
) -> None:
    """Let heads compare what their weights compare, as products of what queries and keys know, which lie at `middle`.

    What a head reads is taken to be mean + (known − middle) write, and what is known to vary by 1 each way; the best
    products are then the leading singular ones. What all queries alike seek is offered by the key. Where there are
    fewer directions than products, the other products are nothing.
    """
    model, decoder, at, held = student.model, student.model.decoder, f"L{layer:02d}", student.tensors
    scale, rank = decoder.blocks[layer].attention.scale, student.plan.rank
    for head in range(decoder.sizes.head):
        own = head_weights(model.weights, decoder, layer, head)
        query, key = write @ own.query, write @ own.key
        always = mean @ own.query + own.query_bias
        left, force, right = torch.linalg.svd(scale * query @ key.T)
        some = ((side[:, :rank] * force[:rank].sqrt()).T for side in (left, right.T))
        asked, given = (pad(side, (0, 0, 0, rank - len(side))) for side in some)
        held[f"{at}.seeks.bias"][head] = -asked @ middle
        said = {"offers": scale * key @ always, "seeks.query": asked, "seeks.key": given}
        for name, table in said.items():
            held[f"{at}.{name}"][head] = 0
            (held[f"{at}.{name}.late"][head] if layer else held[f"{at}.{name}"][head, ..., 0]).copy_(table)


def fit_patterns(student: Student, layer: int, rows: Rows, steps: int) -> None:
    """Fit where the heads of a layer look: the KL from their own patterns on `rows`, by Adam."""
    model, at = student.model, f"L{layer:02d}"
    looks = (f"{at}.curve", f"{at}.primitives", f"{at}.offers", f"{at}.seeks")
    names = [name for name in student.tensors if name.startswith(looks)]
    for name in names:
        student.tensors[name].requires_grad_()
    optimiser = torch.optim.Adam([student.tensors[name] for name in names], lr=_RATE)
    batch = max(1, _BATCH_TOKENS // rows.shape[1])
    for step in range(steps):
        first = step * batch % max(1, len(rows) - batch + 1)
        ids = rows[first : first + batch].to(model.device)
        with mixed(model):
            with torch.no_grad():
                own = model.run(ids, [f"{at}.pattern"])[f"{at}.pattern"]
                reading = read_before(student, ids, layer)
            scores = reading.scores(layer)
        loss = pattern_kl(own, causal(scores))
        optimiser.param_groups[0]["lr"] = _RATE * 0.1 ** (step / steps)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    student.tensors = {name: tensor.detach() for name, tensor in student.tensors.items()}


def read_before(student: Student, ids: Int[Tensor, "batch pos"], layer: int) -> StudentReading:
    """The reading of `ids` by all layers before `layer`, up to the scale of the norm in front of its heads."""
    reading = StudentReading(student, ids)
    if layer:
        at = f"L{layer:02d}.resid_pre"
        note = {at: partial(reading.scale, f"L{layer:02d}.LN1")}
        student.engine.run(ids, (at,), edits=edits(reading, range(layer)) | note)
    return reading


def pattern_kl(
    own: Float[Tensor, "batch head query key"], said: Float[Tensor, "batch head query key"]
) -> Float[Tensor, ""]:
    """Mean over queries and heads of the KL of the patterns `said` from the heads' `own`, in nats."""
    divergence: Tensor = (torch.special.xlogy(own, own) - own * said.clamp(min=_LEAST).log()).sum(-1).mean()
    return divergence


def fit_values(
    sweep: ReadingSweep, layer: int, axes: dict[str, Axes], wanted: dict[str, Float[Tensor, "row pos _"]]
) -> None:
    """Let a layer's values, and its late values, be the best guesses of the directions that are read most."""
    student, model = sweep.student, sweep.student.model
    at, after, own = f"L{layer:02d}", f"L{layer + 1:02d}.LN1", model.layer(layer)
    read, offset = axes[f"{at}.LN2"], shift(model, f"{at}.LN2")
    into, bias = own.read, own.read_bias
    always = read.mean + (offset - read.mean) @ read.read @ read.write
    student.tensors[f"{at}.values"] = guesses(sweep, layer, f"{at}.LN2", read, wanted)
    student.tensors[f"{at}.neurons"] = read.write @ into
    student.tensors[f"{at}.bias"] = always @ into if bias is None else bias + always @ into
    if after in axes:
        sweep.fire(layer)
        student.tensors[f"{at}.late"] = guesses(sweep, layer, after, axes[after], wanted)
    for name in {f"{at}.values", f"{at}.late"} & {*student.tensors}:
        student.masks[name] = (student.tensors[name] != 0).to(student.tensors[name])


@torch.no_grad()
def guesses(
    sweep: ReadingSweep, layer: int, norm: str, axes: Axes, wanted: dict[str, Tensor]
) -> Float[Tensor, "feature value"]:
    """How values of a layer sum few terms so as to guess what is `wanted` behind a norm, in the program so far."""
    student = sweep.student
    price = term_prices(student, layer, len(fired_by(layer, norm)))
    found = price.new_zeros(len(price), axes.read.shape[1])
    few = screened(sweep.behind(layer, norm, wanted[norm]), price, axes.worth)
    squares, products = found.new_zeros(len(few), len(few)), found.new_zeros(len(few), found.shape[1])
    for terms, left in sweep.behind(layer, norm, wanted[norm]):
        chosen = terms[:, few]
        squares.addmm_(chosen.T, chosen)
        products.addmm_(chosen.T, left)
    most = SPARSE * student.plan.budget / (2 * student.model.decoder.layers - 1)
    found[few] = sparse_guesses(squares, products, axes.worth, price[few], most)
    return found


def screened(
    text: Iterable[tuple[Tensor, Tensor]], price: Float[Tensor, " term"], worth: Float[Tensor, " value"]
) -> Int[Tensor, " few"]:
    """The `MOST_TERMS` terms that by themselves say most for their price of what is wanted in `text`.

    As in sure independence screening (Fan & Lv, J. R. Stat. Soc. B 2008).
    """
    if len(price) <= MOST_TERMS:
        return torch.arange(len(price), device=price.device)
    squares, products = torch.zeros_like(price), price.new_zeros(len(price), len(worth))
    for terms, left in text:
        squares += terms.square().sum(0)
        products.addmm_(terms.T, left)
    gain = (products / lengths(squares)[:, None]).square() @ worth.clamp(min=0) / price
    return gain.topk(MOST_TERMS).indices.sort().values

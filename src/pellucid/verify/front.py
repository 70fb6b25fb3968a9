"""The front: how faithful programs are for the numbers that they hold, with references that need no understanding.

A program's size is every number it holds: the subject's parameters, less those of parts that are lifted or have
sources, plus what these hold. The curves lift one kind of part everywhere, untuned, at several ranks: all neurons' IN
through k channels a layer, or where all heads look at rank r. They say what algebra alone costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.progress import track
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import sample_rows
from pellucid.exact.model import Model
from pellucid.family.allowance import LIFTED_SHARE, lifted_numbers, most_rank
from pellucid.family.partition import count
from pellucid.forms.channels import ChannelMoments
from pellucid.forms.form import StoredForm
from pellucid.forms.twin import Twin
from pellucid.listing.count import count_lifted, count_program
from pellucid.measure.distance import distance, logits_of
from pellucid.measure.record import batches, record
from pellucid.measure.references import references
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens, rows_for

SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
"""Ranks that are drawn, as shares of the whole."""


@dataclass(frozen=True)
class Point:
    """One program: its size, and how far it is from the subject. What was not measured is None.

    `kl` is in nats per token, `top1` and the word error rates in percent; `rank` is that of a curve's point, and
    `allowed` says whether lifted parts may hold so many numbers.
    """

    name: str
    curve: str
    numbers: int
    kl: float | None
    top1: float | None
    wer_next: float | None = None
    wer_16: float | None = None
    rank: int | None = None
    allowed: bool | None = None


@dataclass(frozen=True)
class Front:
    """All points of a project, measured on `tokens` of held-out text but for the programs, whose report says how."""

    subject: str
    parameters: int
    tokens: int
    quick: bool
    points: tuple[Point, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"split": "heldout", "points": [asdict(point) for point in self.points]}


def front(project: Project, effort: Effort) -> Front:
    """Measure the curves, the references and the noise floor, and take the programs' figures from the last report."""
    model = project.model
    rows = first_tokens(rows_for(project, "heldout", effort.front_tokens), effort.front_tokens)
    points = [*programs(project), *bounds(project, rows, effort), *curves(project, rows, effort)]
    return Front(model.subject.name, model.subject.parameters, rows.numel(), effort.is_quick, tuple(points))


def programs(project: Project) -> Iterator[Point]:
    """The full program and the source-only one, as they were measured last. Raises `ProjectError` if never."""
    report, listing, decoder = project.report(), project.listing(), project.model.decoder
    dropped, parameters = project.dropped(), project.subject.parameters
    sources, lifted = count_program(listing), count_lifted(listing)
    full, understood = parameters, parameters
    for address in listing.decoder.addresses.addresses():
        if address in dropped:
            full += lifted.get(address, sources.get(address, 0)) - count(address, decoder)
        if address.kind in ("QK", "IN"):
            held = sources.get(address, 0) if listing[address].part_form == "source" else 1
            understood += held - count(address, decoder)
    for name, key, numbers in (("full program", "full", full), ("source-only", "source_only", understood)):
        found = (report.get(key) or {}).get("overall") or {}
        values = {metric: (found.get(metric) or {}).get("value") for metric in ("kl", "top1", "wer_next", "wer_16")}
        yield Point(name, "program", numbers, **values)


def bounds(project: Project, rows: Int[Tensor, "row pos"], effort: Effort) -> Iterator[Point]:
    """The subject in bfloat16, and the bigram and trigram tables of its own predictions."""
    model, seed = project.model, project.manifest.settings.seed
    rounded = Model(project.subject, dtype=torch.bfloat16)
    yield Point("bfloat16", "noise floor", model.subject.parameters, *distance(model, rounded.logits, rows))
    texts = project.texts
    fit, tune, heldout = (
        sample_rows(split, model.tokenizer, row_tokens(model), n, seed)
        for split, n in ((texts.fit, effort.front_reference_rows), (texts.tune, 16), (texts.heldout, len(rows)))
    )
    for name, table in references(model, fit, tune, heldout).items():
        predictor: Any = table.predictor
        tables = [held for held in (predictor.bigram, predictor.trigram) if held is not None]
        numbers = sum(held.sums.numel() + len(held.keys) for held in tables) + model.n_vocab
        yield Point(name, "reference", numbers, *distance(model, logits_of(predictor), rows))


def curves(project: Project, rows: Int[Tensor, "row pos"], effort: Effort) -> Iterator[Point]:
    """All IN through k channels a layer, and all QK at rank r, at several k and r."""
    model, seed = project.model, project.manifest.settings.seed
    decoder, sizes, parameters = model.decoder, model.decoder.sizes, model.subject.parameters
    moments = [ChannelMoments(model, layer) for layer in range(model.decoder.layers)]
    fit = first_tokens(rows_for(project, "fit", effort.vector_tokens), effort.vector_tokens)
    names = [name for moment in moments for name in moment.names]
    slopes = [name for moment in moments for name in moment.gradients]
    groups = sum(1 for _ in batches(fit, model.n_vocab))
    for batch in track(record(model, fit, names, gradients=slopes, seed=seed), "moments", groups):
        for moment in moments:
            moment.add(batch)
    channels = [moment.channels(sizes.model) for moment in moments]
    looks = [moment.comparisons(sizes.dim) for moment in moments]
    for k in ranks(sizes.model, most_rank(decoder, "IN", sizes.neuron)):
        neurons = [Address("IN", layer, n) for layer in range(model.decoder.layers) for n in range(sizes.neuron)]
        forms: list[StoredForm] = [channels[a.layer].form(a, k) for a in neurons]
        held = lifted_numbers("IN", decoder, rank=k, sharing=sizes.neuron)
        yield _point(model, f"IN, {k} channels", "channels", forms, parameters, held, k, rows)
    for r in ranks(sizes.dim, most_rank(decoder, "QK")):
        heads = [Address("QK", layer, h) for layer in range(model.decoder.layers) for h in range(sizes.head)]
        forms = [looks[a.layer].form(a, r) for a in heads]
        yield _point(model, f"QK, rank {r}", "heads", forms, parameters, lifted_numbers("QK", decoder, rank=r), r, rows)


def ranks(whole: int, most: int) -> list[int]:
    """The ranks that are drawn: shares of the whole, and the most that lifted parts may have."""
    found = {max(1, round(share * whole)) for share in SHARES} | ({most} if most else set())
    return sorted(found)


def _point(
    model: Model,
    name: str,
    curve: str,
    forms: Sequence[StoredForm],
    parameters: int,
    held: int,
    rank: int,
    rows: Int[Tensor, "row pos"],
) -> Point:
    raw = count(forms[0].address, model.decoder)
    numbers = parameters + len(forms) * (held - raw)
    allowed = held <= LIFTED_SHARE * raw
    return Point(name, curve, numbers, *distance(model, Twin(model, forms).logits, rows), rank=rank, allowed=allowed)

"""One part under the lens: what explains it against the raw part, swapped in alone, and jointly with all the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Integer

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.base.lock import writing
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import Row, sample_rows
from pellucid.exact.model import Model
from pellucid.forms.isolated import head_out, kept
from pellucid.forms.stored import Channel, Compares
from pellucid.listing.load import LoadedSources, Program
from pellucid.listing.parse import Listing
from pellucid.listing.statement import Statement
from pellucid.measure.bootstrap import Estimate
from pellucid.measure.fidelity import MeasureSettings, evaluate
from pellucid.measure.ledger import Fidelity
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import statement_state
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.project.variant import variant
from pellucid.verify.freeze import raw_outputs, within

Estimates = dict[str, dict[str, Estimate | None]]


def examine(project: Project, address: Address, effort: Effort) -> Estimates:
    """Measure the source of `address`, or what it is lifted to, on held-out text, and store the result.

    `isolated`: how its output compares with the raw part's on the subject's own activations: `score` is the correlation
    of pre-activations (IN), or the share of the total variation from uniform attention that the source removes (QK);
    `variance_kept` the share of variance that a lifted part keeps, of its write (OV), pre-activation (IN) or scores
    (QK). A part that has a source and is lifted too has both, and runs lifted from here on. `swapped_in`: the metrics
    of `fidelity` for the program with this residual alone dropped. `joint`: those of the source-only program (code),
    with `kl_gain`, by how much its KL is smaller than with the mean in this part's place; of a lifted part, which
    source-only knows nothing of, for the full program, with `kl_cost`, by how much its KL is larger than with the part
    raw. Raises `ProjectError` for a part that runs raw.
    """
    project.require_trust()
    with writing(project.directory):
        return _examine(project, address, effort)


def _examine(project: Project, address: Address, effort: Effort) -> Estimates:
    """The same, alone in its directory."""
    listing = project.listing()
    source, statement = listing[address], listing.runs(address)
    if statement.form == "raw":
        raise ProjectError(f"{address} runs raw: there is no source to verify. Write one in {statement.at}")
    model, seed = project.model, project.manifest.settings.seed
    rows = sample_rows(project.texts.heldout, model.tokenizer, row_tokens(model), effort.part_rows, seed)
    figures: Estimates = {"isolated": {}}
    with variant(project, dropped=[address]) as swapped:
        if statement.form == "lifted" and address.kind == "OV":
            figures["isolated"]["variance_kept"] = variance_kept(model, swapped, statement, rows)
        elif listing.lifted(address):
            figures["isolated"]["variance_kept"] = read_kept(project, swapped, address, effort)
        if source.part_form == "source" and (score := isolated(model, swapped, listing, address, rows)):
            figures["isolated"]["score"] = score
        figures["swapped_in"] = _against(project, {"it": swapped}, rows)["it"].overall
    figures["joint"] = _joint(project, statement, address, rows)
    project.evidence.add(_rows(project, address, statement_state(source), statement_state(statement), figures))
    return figures


def _joint(project: Project, statement: Statement, address: Address, rows: list[Row]) -> dict[str, Estimate | None]:
    """The metrics of the program that the part belongs to, and what the part is worth there, or costs."""
    if statement.part_form == "lifted":
        dropped = project.dropped()
        with (
            variant(project, dropped=dropped | {address}) as one,
            variant(project, dropped=dropped - {address}) as other,
        ):
            both, name, sign = _against(project, {"it": one, "without": other}, rows), "kl_cost", 1.0
    else:
        with variant(project, source_only="code") as one, variant(project, source_only="code", raw=[address]) as other:
            both, name, sign = _against(project, {"it": one, "without": other}, rows), "kl_gain", -1.0
    found = dict(both["it"].overall)
    with_it, without = found["kl"], both["without"].overall["kl"]
    if with_it and without:
        found[name] = Estimate(sign * (with_it.value - without.value), None, None, with_it.n)
    return found


def _against(project: Project, programs: dict[str, Program], rows: list[Row]) -> dict[str, Fidelity]:
    """Teacher-forced metrics of `programs` against the subject."""
    return evaluate(project.model, programs, rows, project.model.tokenizer, MeasureSettings(contexts=0))


def _rows(project: Project, address: Address, source: str, runs: str, figures: Estimates) -> list[Measurement]:
    """`figures` as rows of evidence about the states of the source and of what runs without residual."""
    corpus = project.texts.heldout.sha256
    states = {"score": source}
    return [
        Measurement(str(address), kind, metric, states.get(metric, runs), "heldout", corpus, "overall", *_values(found))
        for kind, metrics in figures.items()
        for metric, found in metrics.items()
    ]


def _values(found: Estimate | None) -> tuple[float | None, float | None, float | None, int]:
    return (None, None, None, 0) if found is None else (found.value, found.low, found.high, found.n)


def isolated(model: Model, program: Program, listing: Listing, address: Address, rows: list[Row]) -> Estimate | None:
    """The score of the source of `address` on the subject's own activations; None for kinds that have none."""
    if address.kind not in ("QK", "IN"):
        return None
    raw = raw_outputs(model, address, rows)
    said = [
        source_output(program, listing, address, row.tokens[None], values.shape)
        for row, values in zip(rows, raw, strict=True)
    ]
    return agreement(address, raw, said)


def variance_kept(model: Model, program: Program, statement: Statement, rows: list[Row]) -> Estimate:
    """The share of the variance of a head's write that is kept by what `program` lifts it to.

    Computed from the program's own vectors, on the subject's activations: 1 − Σ |said − raw|² / Σ |raw − mean|².
    """
    address = Address.parse(statement.key)
    lifted, mean = program.lifted(statement.key)
    out = head_out(model, address).numpy()
    at, left, whole, n = f"L{address.layer:02d}", 0.0, 0.0, 0
    for row in rows:
        ids = torch.as_tensor(row.tokens, dtype=torch.long)[None]
        with torch.inference_mode():
            found = model.run(ids, (f"{at}.LN1", f"{at}.pattern", f"{at}.z"))
        pattern, x, z = (found[f"{at}.{name}"][0].numpy() for name in ("pattern", "LN1", "z"))
        own = z[:, address.index]
        mixed = pattern[address.index] @ (x @ lifted.read) if model.decoder.alone else own @ lifted.read
        raw, said = own @ out, mixed @ lifted.write + lifted.bias
        left += float(np.square(said - raw, dtype=np.float64).sum())
        whole += float(np.square(raw - mean, dtype=np.float64).sum())
        n += len(raw)
    return Estimate(1 - left / whole if whole else 0.0, None, None, n)


def read_kept(project: Project, program: Program, address: Address, effort: Effort) -> Estimate:
    """The same of a neuron's pre-activation or a head's scores, by the vectors that `program` runs; see `kept`."""
    runs = program.reading(str(address))
    form: Channel | Compares
    if address.kind == "QK":
        read_q, read_k, bias = (torch.tensor(part) for part in (runs.read_q, runs.read_k, runs.bias))
        form = Compares(address, read_q, read_k, bias)
    else:
        form = Channel(address, torch.tensor(runs.weight)[:, None], torch.ones(1), runs.bias)
    rows = rows_for(project, "heldout", effort.part_rows * row_tokens(project.model))
    return Estimate(kept(project.model, [form], rows)[address], None, None, rows.numel())


def agreement(
    address: Address, raw: Sequence[Float32[np.ndarray, "*_"]], said: Sequence[Float32[np.ndarray, "*_"]]
) -> Estimate:
    """The score of what a source `said` beside what the raw part at `address` (QK or IN) does, row by row."""
    if address.kind == "QK":
        left = np.concatenate([1 - overlap(a, b) for a, b in zip(raw, said, strict=True)])
        whole = np.concatenate([1 - overlap(a, np.zeros_like(a)) for a in raw])
        score = 1 - float(left.sum() / whole.sum()) if whole.sum() else 0.0
        return Estimate(score, None, None, len(left))
    a, b = np.concatenate(raw), np.concatenate(said)
    score = float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0
    return Estimate(score, None, None, len(a))


def source_output(
    program: Program | LoadedSources,
    listing: Listing,
    address: Address,
    ids: Integer[np.ndarray, "1 pos"],
    shape: tuple[int, ...],
) -> Float32[np.ndarray, "*_"]:
    """What the source of `address` says about one row: scores [query, key] or pre-activations [pos]."""
    statement = listing[address]
    if statement.form == "constants":
        return np.full(shape, statement.values[address.index], np.float32)
    said = program.source_output(str(address), ids, shape)
    return within(said, listing.decoder.blocks[address.layer].attention.window) if address.kind == "QK" else said


def overlap(a: Float32[np.ndarray, "query key"], b: Float32[np.ndarray, "query key"]) -> Float32[np.ndarray, " query"]:
    """1 − total variation between the causal patterns of two score matrices, per query; 1 where they are the same."""
    patterns = [causal_softmax(scores) for scores in (a, b)]
    return np.asarray(1 - np.abs(patterns[0] - patterns[1]).sum(-1) / 2, np.float32)


def causal_softmax(scores: Float32[np.ndarray, "query key"]) -> Float32[np.ndarray, "query key"]:
    """The pattern that `scores` give when no query sees a later key."""
    later = np.triu(np.ones(scores.shape, bool), 1)
    masked = np.where(later, -np.inf, scores)
    weights = np.exp(masked - masked.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True), np.float32)

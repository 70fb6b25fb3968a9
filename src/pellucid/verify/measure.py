"""Measuring a program on text to measure on, beside its noise floor and the references that need no understanding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import torch

from pellucid.base.effort import Effort
from pellucid.base.terminal import tell
from pellucid.corpus.corpus import Split
from pellucid.corpus.rows import sample_rows
from pellucid.exact.model import Model
from pellucid.exact.predictor import Predictor
from pellucid.measure.fidelity import SILENT, Contender, contexts_on, evaluate
from pellucid.measure.ledger import Fidelity
from pellucid.measure.pace import BESIDE_CONTEXTS, MeasurementPlan, Pace, plan, probe
from pellucid.measure.pace import beside as share_beside
from pellucid.measure.references import references
from pellucid.project.project import Project

FULL = "full"
"""The program that the gate is about."""
PART = {"source_only_all", "noise_floor"}
"""What is compared on a part of the rows, since nothing is judged by it."""
TUNE_ROWS = 64
"""Rows that the smoothing of the references is chosen on."""


def measure(project: Project, effort: Effort, *, beside: bool = True) -> dict[str, Fidelity]:
    """Measure the full program and the source-only ones, and `beside` them the noise floor and the references.

    All are compared on the same rows of held-out text, in one pass of the subject, the noise floor and the program
    without any data on a random part of them. The full program is continued from all contexts, for the gate asks for
    them; all else from at most `BESIDE_CONTEXTS` of these, on that part. Says on standard error how long it will take.
    """
    model, seed = project.model, project.manifest.settings.seed
    programs: dict[str, Predictor | Contender] = {
        "full": project.program(),
        "source_only": project.program("code"),
        "source_only_all": Contender(project.program("all"), words=SILENT),
    }
    if beside:
        programs["noise_floor"] = Model(project.subject, dtype=torch.bfloat16)
    how = plan_for(model, programs, effort)
    texts, counts = project.texts, (how.reference_tokens // how.length, TUNE_ROWS, how.rows)
    fit, tune, heldout = (
        sample_rows(split, model.tokenizer, how.length, count, seed)
        for split, count in zip((texts.fit, texts.tune, texts.heldout), counts, strict=True)
    )
    settings = replace(how.settings, seed=seed)
    there = contexts_on(heldout, model.n_ctx, settings)
    tell(f"measuring {how.on(there, len(heldout))}{fewer(there)}")
    if beside:
        programs |= references(model, fit, tune, heldout, limit=how.reference_bytes)
    few = frozenset(range(ceil(share_beside(settings.contexts) * len(heldout))))  # rows come in random order
    contenders = {n: Contender.of(p) if n == FULL else Contender.of(p).speaking(few) for n, p in programs.items()}
    for name in PART & contenders.keys():
        contenders[name] = replace(contenders[name], rows=few)
    return evaluate(model, contenders, heldout, model.tokenizer, settings)


def fewer(contexts: int) -> str:
    """What is said where all but the full program is continued from fewer than so many `contexts`."""
    return f"; all but the full program continued from about {BESIDE_CONTEXTS:,}" * (contexts > BESIDE_CONTEXTS)


def measure_full(project: Project, split: Split, effort: Effort) -> Fidelity:
    """Measure the full program alone on `split`. Says on standard error how long it will take."""
    model, program, seed = project.model, project.program(), project.manifest.settings.seed
    how = plan_for(model, {FULL: program}, effort)
    tell(f"the full program alone: measuring {how}")
    rows = sample_rows(split, model.tokenizer, how.length, how.rows, seed)
    return evaluate(model, {FULL: program}, rows, model.tokenizer, replace(how.settings, seed=seed))[FULL]


def plan_for(model: Model, programs: Mapping[str, Predictor | Contender], effort: Effort) -> MeasurementPlan:
    """How much to measure, from how fast the subject and the programs run here."""
    share = share_beside(effort.contexts)
    paces = {"subject": probe(model)}
    for name, program in programs.items():
        if not isinstance(program, Contender):
            pace = probe(program)
            paces[name] = (
                pace if name == FULL else Pace(pace.read * (share if name in PART else 1.0), pace.write * share)
            )
    cache_bytes = 8 * model.decoder.layers * model.decoder.sizes.model
    return plan(paces, "subject", model.n_ctx, model.n_vocab, cache_bytes, effort)

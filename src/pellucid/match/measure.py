"""Measuring a program on text to measure on, beside its noise floor and the references that need no understanding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.experiment.corpus import Split
from pellucid.experiment.estimate import Plan, plan, probe
from pellucid.experiment.fidelity import Contender, contexts_on, evaluate
from pellucid.experiment.ledger import Fidelity
from pellucid.experiment.predictor import Predictor
from pellucid.experiment.references import references
from pellucid.experiment.rows import sample_rows
from pellucid.match.project import Project

TUNE_ROWS = 64
"""Rows that the smoothing of the references is chosen on."""


def measure(project: Project, *, quick: bool, beside: bool = True) -> dict[str, Fidelity]:
    """Measure the full program and the source-only ones, and `beside` them the noise floor and the references.

    All on the same contexts of held-out text, in one pass of the subject. Says on standard error how long it will take.
    """
    model, seed = project.model, project.manifest.settings.seed
    programs: dict[str, Predictor | Contender] = {
        "full": project.program(),
        "source_only": project.program("code"),
        "source_only_all": Contender(project.program("all"), words=False),
    }
    if beside:
        programs["noise_floor"] = Model(project.subject, dtype=torch.bfloat16)
    how = plan_for(model, programs, quick=quick)
    texts, counts = project.texts, (how.reference_tokens // how.length, TUNE_ROWS, how.rows)
    fit, tune, heldout = (
        sample_rows(split, model.tokenizer, how.length, count, seed)
        for split, count in zip((texts.fit, texts.tune, texts.heldout), counts, strict=True)
    )
    settings = replace(how.settings, seed=seed)
    tell(f"measuring {how.on(contexts_on(heldout, model.n_ctx, settings), len(heldout))}")
    if beside:
        programs |= references(model, fit, tune, heldout, limit=how.reference_bytes)
    return evaluate(model, programs, heldout, model.tokenizer, settings)


def measure_full(project: Project, split: Split, *, quick: bool) -> Fidelity:
    """Measure the full program alone on `split`. Says on standard error how long it will take."""
    model, program, seed = project.model, project.program(), project.manifest.settings.seed
    how = plan_for(model, {"full": program}, quick=quick)
    tell(f"the full program alone: measuring {how}")
    rows = sample_rows(split, model.tokenizer, how.length, how.rows, seed)
    return evaluate(model, {"full": program}, rows, model.tokenizer, replace(how.settings, seed=seed))["full"]


def plan_for(model: Model, programs: Mapping[str, Predictor | Contender], *, quick: bool) -> Plan:
    """How much to measure, from how fast the subject and the programs run here."""
    spoken = {name: program for name, program in programs.items() if not isinstance(program, Contender)}
    paces = {"subject": probe(model)} | {name: probe(program) for name, program in spoken.items()}
    cache_bytes = 8 * model.config.n_layer * model.config.n_embd
    return plan(paces, "subject", model.n_ctx, model.n_vocab, cache_bytes, quick)

"""`report.json` and the data of `report.html`: what was measured, where each part stands, and what that amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pellucid import __version__
from pellucid.base.effort import Effort
from pellucid.base.shell import quoted
from pellucid.forms.worst_places import load_contexts
from pellucid.listing.count import count_lifted, count_whole
from pellucid.measure.ledger import Report
from pellucid.project.gate import judge
from pellucid.project.hindered import hindered
from pellucid.project.inventory import Entry, inventory
from pellucid.project.progress import progress
from pellucid.project.project import Project
from pellucid.project.report_file import FORMAT
from pellucid.project.stage_names import WORST
from pellucid.project.told import account_figures
from pellucid.project.verdict import Verdict
from pellucid.verify.standing import standing

BLOCKS = ("full", "source_only", "source_only_all", "noise_floor", "trigram", "bigram")
MEASURED: tuple[Verdict, ...] = ("exact", "within", "over")
"""Verdicts that rest on a measurement of the part as it stands."""


def build_report(
    project: Project, blocks: Mapping[str, Report], worst: Sequence[Mapping[str, Any]], effort: Effort
) -> dict[str, Any]:
    """Everything but the parts: `{full|source_only|…: {overall: {METRIC: …}, domains: {DOMAIN: …}}, …}`."""
    state = project.state()
    report: dict[str, Any] = {
        "format": FORMAT,
        "pellucid": __version__,
        "created": datetime.now(UTC).date().isoformat(),
        "command": f"pellucid verify {quoted(project.directory.name)}{' --quick' if effort.is_quick else ''}",
        "quick": effort.is_quick,
        "state": state,
        "subject": _subject(project),
        "corpus": _corpus(project),
        "heldout": _heldout(project),
    }
    report |= {name: blocks.get(name) for name in BLOCKS}
    report["gate"] = judge(blocks["full"], project.manifest.gate, effort)
    report["standing"] = standing(report)
    entries = inventory(project)
    report["progress"] = progress(
        [entry.state for entry in entries], report["gate"]["passed"], report["source_only"], calibration(project)
    )
    report["measured"] = [str(entry.address) for entry in entries if entry.verdict in MEASURED]
    report["numbers"] = _numbers(project, entries)
    report["worst"] = [*worst]
    report["accounts"] = account_figures(project)
    if said := hindered(project):
        report["hindered"] = said
    return report


def page_data(project: Project) -> dict[str, Any]:
    """The report with every part in it, as `pellucid.view.report.render` takes it.

    The text of a named value stands in it once, however many parts read it.
    """
    entries = inventory(project)
    details = [entry for entry in entries if entry.is_told]
    at = {entry.address: number for number, entry in enumerate(details)}
    columns = {
        "address": [str(entry.address) for entry in entries],
        "form": [entry.state.shown for entry in entries],
        "residual": [entry.state.residual for entry in entries],
        "verdict": [entry.verdict for entry in entries],
        "parameters": [entry.state.parameters for entry in entries],
        "effect": [entry.state.effect for entry in entries],
        "name": [entry.name for entry in entries],
        "detail": [at.get(entry.address, -1) for entry in entries],
    }
    worst: dict[str, Any] = {}
    for stage in WORST:
        worst |= load_contexts(project.evidence.latest(stage) or "{}", stage)
    shown = [entry.detail(worst.get(str(entry.address), ())) for entry in details]
    used = {value.name for entry in details for value in entry.values}
    values = {
        name: {"source": value.text, "reads": list(value.values)}
        for name, value in project.listing().values.items()
        if name in used
    }
    return project.report() | {"parts": columns, "details": shown, "values": values}


def _subject(project: Project) -> dict[str, Any]:
    subject, decoder = project.subject, project.subject.decoder
    return {
        "name": project.manifest.subject.name,
        "parameters": subject.parameters,
        "layers": decoder.layers,
        "heads": decoder.sizes.head,
        "neurons": decoder.sizes.neuron,
        "d_model": decoder.sizes.model,
        "vocab": decoder.sizes.vocab,
        "context": decoder.sizes.pos,
        "weights_sha256": subject.weights_sha256,
        "tokenizer_sha256": subject.tokenizer_sha256,
    }


def _corpus(project: Project) -> dict[str, Any]:
    heldout = project.texts.heldout
    entry = project.manifest.corpus
    overlap = {"stretches": entry.stretches, "copied": entry.copied, "alike": entry.alike} if entry.stretches else None
    about = {"origin": heldout.corpus.origin, "domains": list(heldout.domains), "splits": splits(project)}
    return about | {"overlap": overlap}


def _heldout(project: Project) -> dict[str, Any]:
    """How often held-out text was read since the directory was made, and by which text it was chosen what runs alone.

    `readings` is a lower bound (`at_least`) in a directory that was made without check text, since others may have
    been before they were counted.
    """
    check = "check" in project.texts.named
    return {"readings": project.readings.count, "at_least": not check, "chosen_on": "check" if check else "heldout"}


def splits(project: Project) -> dict[str, dict[str, Any]]:
    """Hash and size of the text that is fitted, tuned, chosen by and measured on."""
    named = project.texts.named.items()
    return {name: {"sha256": s.sha256, "words": s.n_words, "unit": s.cut.unit} for name, s in named}


def _numbers(project: Project, entries: list[Entry]) -> dict[str, Any]:
    code = ("QK", "IN")
    return {
        "program": sum(entry.numbers for entry in entries if entry.address.kind in code and _is_source(entry)),
        "lifted": sum(count_lifted(project.listing()).values()),
        "whole": count_whole(project.listing()),
        "budget": project.budget,
        "size": project.manifest.settings.size,
    }


def _is_source(entry: Entry) -> bool:
    """Whether an entry has a source, lifted or not."""
    return entry.statement is not None and entry.statement.part_form == "source"


def calibration(project: Project) -> dict[str, float | int | None] | None:
    """How well the effect estimates agree with exact ablations, None where no effects were estimated."""
    for _, row in project.evidence.find(part="program", kind="effect_calibration", metric="correlation"):
        return {"correlation": row.value, "n": row.n}
    return None

"""Verifying: measure a program or a part of it, store the evidence, and write the report."""

from __future__ import annotations

from typing import Any

from pellucid.base.errors import ProjectError
from pellucid.base.lock import writing
from pellucid.experiment.ledger import Fidelity, Report
from pellucid.explain.evidence import DOMAIN, Measurement
from pellucid.match.measure import measure
from pellucid.match.project import Project
from pellucid.match.report import build_report, splits


def verify(project: Project, *, quick: bool) -> None:
    """Measure the program on held-out text, store what came out, and write `report.json`.

    What stands beside it (noise floor, references) belongs to the subject and its text, and is measured once for each
    way of measuring; source-only and full program are always measured anew.
    """
    project.require_trust()
    with writing(project.directory):
        _verify(project, quick=quick)


def _verify(project: Project, *, quick: bool) -> None:
    """The same, alone in its directory."""
    known = _beside(project, quick=quick)
    measured = measure(project, quick=quick, beside=not known)
    store(project, measured)
    blocks = known | {name: fidelity.to_dict() for name, fidelity in measured.items()}
    project.save_report(build_report(project, blocks, measured["full"].worst, quick=quick))


def _beside(project: Project, *, quick: bool) -> dict[str, Report]:
    """The noise floor and references of the last report, if they were measured in the same way; else none."""
    try:
        last = project.report()
    except ProjectError:
        return {}
    same = last.get("quick") is quick and last.get("corpus", {}).get("splits") == splits(project)
    blocks = {name: last.get(name) for name in ("noise_floor", "bigram", "trigram")}
    return {name: block for name, block in blocks.items() if block} if same and all(blocks.values()) else {}


def store(project: Project, measured: dict[str, Fidelity]) -> None:
    """Add the figures of whole programs to the evidence."""
    state, corpus = project.state(), project.texts.heldout.sha256
    rows = []
    for name, fidelity in measured.items():
        found = fidelity.to_dict()
        blocks = {"overall": found["overall"]} | {DOMAIN + domain: block for domain, block in found["domains"].items()}
        for scope, metrics in blocks.items():
            for metric, entry in metrics.items():
                values: Any = entry or {"value": None, "low": None, "high": None, "n": 0}
                rows.append(Measurement("program", name, metric, state, "heldout", corpus, scope, **values))
    project.evidence.add(rows)

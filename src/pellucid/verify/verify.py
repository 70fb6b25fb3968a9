"""Verifying: measure a program or a part of it, store the evidence, and write the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.base.lock import writing
from pellucid.measure.ledger import Fidelity, Report
from pellucid.project.evidence import DOMAIN, Measurement
from pellucid.project.project import Project
from pellucid.verify.measure import measure
from pellucid.verify.report import BLOCKS, build_report, splits


def verify(project: Project, effort: Effort, *, known: bool = False) -> None:
    """Measure the program on held-out text, store what came out, and write `report.json`.

    What stands beside it (noise floor, references) belongs to the subject and its text, and is measured once for each
    way of measuring; source-only and full program are measured anew, unless a `known` measurement of the same program
    will do: then held-out text is not read.
    """
    project.require_trust()
    with writing(project.directory):
        _verify(project, effort, known=known)


def _verify(project: Project, effort: Effort, *, known: bool) -> None:
    """The same, alone in its directory."""
    last = _last(project, effort)
    if known and last.get("state") == project.state() and (blocks := _measured(last, BLOCKS)):
        project.save_report(build_report(project, blocks, last["worst"], effort))
        return
    beside = _measured(last, ("noise_floor", "bigram", "trigram"))
    with project.readings.unless_it_fails():
        measured = measure(project, effort, beside=not beside)
    store(project, measured)
    blocks = beside | {name: fidelity.to_dict() for name, fidelity in measured.items()}
    worst = [divergence.to_dict() for divergence in measured["full"].worst]
    project.save_report(build_report(project, blocks, worst, effort))
    project.readings.end()


def _last(project: Project, effort: Effort) -> dict[str, Any]:
    """The last report, if it was measured in the same way on the same text; else an empty one."""
    try:
        last = project.report()
    except ProjectError:
        return {}
    same = last.get("quick") is effort.is_quick and last.get("corpus", {}).get("splits") == splits(project)
    return last if same and "worst" in last else {}


def _measured(report: dict[str, Any], names: Sequence[str]) -> dict[str, Report]:
    """The blocks of `report` by these names, if it has all of them; else none."""
    blocks = {name: report.get(name) for name in names}
    return {name: block for name, block in blocks.items() if block} if all(blocks.values()) else {}


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

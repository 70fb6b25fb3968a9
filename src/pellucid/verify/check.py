"""Checking a decompilation that is kept in git: what got worse since its last report, with nothing written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.project.gate import judge
from pellucid.project.inventory import Entry, inventory
from pellucid.project.progress import evidence_share, residual_free
from pellucid.project.project import REPORT, Project
from pellucid.project.report_file import read_report
from pellucid.verify.figures import METRICS, ROWS, figure
from pellucid.verify.measure import measure
from pellucid.verify.snapshot import WEIGHTS, Snapshot, held_subject, snapshot

FindingKind = Literal["hash", "fidelity", "share", "stale", "unmeasured", "name"]
PROGRAMS = ("full", "source_only", "source_only_all")
BETTER_HIGH = frozenset({"top1"})
ROUNDING = {"kl": 1e-8, "ce_gap": 1e-6}
"""Nats per token that another processor's float32 arithmetic can differ by."""
LONGEST_ID = 20
"""Digits that an id of SQLite never has."""
NEED_EVIDENCE = ("analysis", "model-written")
"""Provenances of names that stand for a measurement."""


@dataclass(frozen=True)
class Failure:
    """One thing that got worse: of which kind, about what, and what was expected and found."""

    kind: FindingKind
    about: str
    message: str


@dataclass(frozen=True)
class Check:
    """What a check found. `checked` says what was looked at, a line each."""

    failures: tuple[Failure, ...]
    """What got worse: each has `kind`, `about` and `message`."""
    checked: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing got worse."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"passed": self.passed} | asdict(self)


def check(project: Project, against: Path | None = None, *, measured: bool = True, full: bool = False) -> Check:
    """Compare `project` with its `report.json`, or with another report `against`.

    `measured` runs the program on held-out text, on 500 contexts or (`full`) as many as the gate asks for; without, the
    figures of `report.json` are compared with those of `against`. Raises `ProjectError` for a directory that was never
    measured, a report of another subject, or a program that is a stranger's and not trusted.
    """
    last = read_report(project.directory / REPORT)
    old = last if against is None else read_report(against)
    if old["subject"]["weights_sha256"] != project.manifest.subject.weights_sha256:
        raise ProjectError(f"{against or project.directory} is a report on another subject, {old['subject']['name']}")
    try:
        _ = project.model, project.texts
    except ProjectError as error:  # the only reason: hashes that differ from those of the manifest
        return Check((Failure("hash", "subject and text", str(error)),), ("subject and text",))
    with snapshot(project, weights=measured) as copy:
        new = figures(copy, Effort.of(not full)) if measured else last
        entries = inventory(copy)
        failures = [
            *hashes(project, last, old),
            *worse_figures(old, new),
            *smaller_shares(old, new, entries),
            *unproven(old, entries),
            *unfounded_names(copy),
        ]
    return Check(tuple(failures), tuple(_checked(new if measured else None, against, entries)))


def moved(project: Project, subject: str | None, corpus: Sequence[Path], fit_corpus: Sequence[Path]) -> Project:
    """`project` with subject and text read from other places than its manifest says; their hashes must still match."""
    manifest = project.manifest
    if subject is not None:
        manifest = replace(manifest, subject=replace(manifest.subject, name=subject))
    if corpus:
        paths, fit_paths = (tuple(map(str, found)) for found in (corpus, fit_corpus))
        manifest = replace(manifest, corpus=replace(manifest.corpus, paths=paths, fit_paths=fit_paths))
    return Project(project.directory, manifest, granted=project.granted)


def figures(copy: Snapshot, effort: Effort) -> dict[str, Any]:
    """The figures of the full and the source-only programs, measured now, as a report holds them."""
    found = {name: fidelity.to_dict() for name, fidelity in measure(copy, effort, beside=False).items()}
    return {**found, "quick": effort.is_quick, "gate": judge(found["full"], copy.manifest.gate, effort)}


# --- what can get worse -----------------------------------------------------------------------------------------------


def hashes(project: Project, last: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Failure]:
    """Hashes that do not match: of the report's subject, text and program, and of the weights where there are any."""
    manifest = project.manifest
    for what in ("weights", "tokenizer"):
        key = f"{what}_sha256"
        yield from _differs(f"{what} of the report", last["subject"][key], getattr(manifest.subject, key))
    for name, recorded in manifest.corpus.hashes.items():
        for report in (last, old) if old is not last else (last,):
            if found := report["corpus"]["splits"].get(name):
                yield from _differs(f"{name} text of the report", found["sha256"], recorded)
    held = held_subject(project)
    if held is not None:
        yield from _differs(WEIGHTS, held, manifest.subject.weights_sha256)
    if last["state"] != project.state():
        yield Failure("hash", "program", "it has changed since report.json was written; run `pellucid verify` again")


def _differs(what: str, found: str, expected: str) -> Iterator[Failure]:
    if found != expected:
        yield Failure("hash", what, f"SHA-256 {found[:12]}, pellucid.toml says {expected[:12]}")


def worse_figures(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Failure]:
    """Metrics whose new interval lies wholly on the worse side of the old one.

    Domains are compared where both figures rest on equally many observations.
    """
    for program in PROGRAMS:
        was, now = (side.get(program) or {"overall": {}, "domains": {}} for side in (old, new))
        yield from _worse_metrics(f"{ROWS[program]}, overall", was["overall"], now["overall"])
        for domain, metrics in was["domains"].items():
            found = now["domains"].get(domain, {})
            yield from _worse_metrics(f"{ROWS[program]}, domain {domain}", metrics, found, alike=True)


def _worse_metrics(
    about: str, before: Mapping[str, Any], after: Mapping[str, Any], *, alike: bool = False
) -> Iterator[Failure]:
    """The metrics of one block that got worse; `alike`: only those that rest on equally many observations."""
    for metric, was in before.items():
        now = after.get(metric)
        if was is None or was["value"] is None or metric not in METRICS:
            continue
        if now is None or now["value"] is None:
            yield Failure("unmeasured", about, f"{METRICS[metric]} was {figure(was)} and is not measured now")
        elif (not alike or was["n"] == now["n"]) and _worse(metric, was, now):
            yield Failure("fidelity", about, f"{METRICS[metric]} was {figure(was)}, is {figure(now)}")


def _worse(metric: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the intervals are apart, in the wrong direction; a figure without an interval is its own bounds."""
    worst_was, best_now = ("low", "high") if metric in BETTER_HIGH else ("high", "low")
    before, after = (
        side["value"] if side[end] is None else side[end] for side, end in ((was, worst_was), (now, best_now))
    )
    loss = before - after if metric in BETTER_HIGH else after - before
    return bool(loss > ROUNDING.get(metric, 0.0))


def smaller_shares(old: Mapping[str, Any], new: Mapping[str, Any], entries: Sequence[Entry]) -> Iterator[Failure]:
    """Residual-free shares that shrank, or that no longer count since the full program fails the gate.

    Gates are compared only where both were judged on as many contexts.
    """
    if new["gate"]["passed"] is False and old["gate"]["passed"] is not False and new["quick"] is old["quick"]:
        yield Failure("share", "gate", f"the full program fails it now: {' '.join(new['gate']['reasons'])}")
    shares = residual_free([entry.state for entry in entries], gate_passed=True)
    for form, by in shares.items():
        for unit, now in by.items():
            was = old["progress"]["residual_free"][form].get(unit)
            if was is not None and (now is None or now < was - 1e-9):
                said = "unmeasured" if now is None else f"{100 * now:.2f} %"
                yield Failure("share", f"residual-free {form}", f"by {unit} it was {100 * was:.2f} %, is {said}")


def unproven(old: Mapping[str, Any], entries: Sequence[Entry]) -> Iterator[Failure]:
    """Sources that changed since they were measured, that run without being measured, or that lost their evidence."""
    stale = [entry for entry in entries if entry.verdict == "stale"]
    for entry in stale:
        said = "its source has changed since it was measured; run `pellucid verify` on it"
        yield Failure("stale", str(entry.address), said)
    for entry in entries:
        if entry.verdict == "unmeasured" and entry.state.residual == "dropped":
            said = "its residual is dropped, but its source was never measured; run `pellucid verify` on it"
            yield Failure("unmeasured", str(entry.address), said)
    measured = frozenset(old.get("measured", ()))
    for entry in entries:
        if entry.verdict == "unmeasured" and entry.state.residual == "on" and str(entry.address) in measured:
            said = "it was measured when the report was written; is evidence.sqlite the one of the report?"
            yield Failure("unmeasured", str(entry.address), said)
    was, now = old["progress"]["evidence"]["n"], evidence_share([entry.state for entry in entries])["n"] or 0
    if now + len(stale) < was:
        said = f"{was:,} parts had a tested description, {now:,} have one; is evidence.sqlite the one of the report?"
        yield Failure("unmeasured", "evidence", said)


def unfounded_names(copy: Project) -> Iterator[Failure]:
    """Names that stand for a measurement, but whose evidence is missing or about another part."""
    parts = copy.evidence.parts()
    for address, symbol in copy.symbols().items():
        if not symbol.name or symbol.provenance not in NEED_EVIDENCE:
            continue
        row = symbol.evidence
        about = parts.get(int(row)) if row.isdecimal() and len(row) < LONGEST_ID else None
        if about != address:
            found = "none" if not symbol.evidence else f"row {symbol.evidence}, which is about {about or 'nothing'}"
            said = f"{symbol.name!r} ({symbol.provenance}) needs evidence about this part; symbols.tsv names {found}"
            yield Failure("name", address, said)


# --- what was looked at ---------------------------------------------------------------------------------------------


def _checked(new: Mapping[str, Any] | None, against: Path | None, entries: Sequence[Entry]) -> Iterator[str]:
    """What was looked at, a line each."""
    yield "hashes: weights, tokenizer, text, program"
    if new is not None:
        n = (new["full"]["overall"]["wer_next"] or {"n": 0})["n"]
        yield f"fidelity: full and source-only programs, measured on {n:,} contexts"
    elif against is not None:
        yield f"fidelity: report.json beside {against}"
    yield "residual-free shares"
    yield f"evidence: {sum(entry.statement is not None for entry in entries):,} parts with a source"
    yield f"names: {sum(bool(entry.name) for entry in entries):,}"

"""The scoreboard in the terminal: fidelity beside its noise floor and references, and the three progress numbers."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.base.terminal import terminal
from pellucid.verify.figures import METRICS, ROWS, figure
from pellucid.verify.standing import standing

KINDS = 3
"""Kinds of position that nothing covers, of those that are told."""
RUNS = {"raw": "from the weights", "lifted": "lifted", "source": "from a source"}


def fidelity_table(report: dict[str, Any]) -> Table:
    """The overall figures of every program and reference in `report`, one row each."""
    table = Table(
        title=f"Fidelity on {amount(report)}held-out text; 95 % intervals; KL, CE gap in nats per token",
        title_justify="left",
        caption=fewer(report) or None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("")
    for label in METRICS.values():
        table.add_column(label, justify="right", no_wrap=True)
    for key, label in ROWS.items():
        block = report.get(key)
        if block:
            table.add_row(label, *(figure(block["overall"].get(metric), "\n") for metric in METRICS))
    return table


def amount(report: dict[str, Any]) -> str:
    """How much was measured: the contexts that were continued, and the positions that were compared."""
    found = report["full"]["overall"] if report.get("full") else {}
    pairs = (("wer_next", "contexts"), ("top1", "positions"))
    said = [f"{found[metric]['n']:,} {what}" for metric, what in pairs if found.get(metric)]
    return f"{', '.join(said)}{' (quick)' * bool(report.get('quick'))} of " if said else ""


def fewer(report: dict[str, Any]) -> str:
    """What is said where other words were measured on fewer contexts than those of the full program."""
    counts = {key: ((report.get(key) or {"overall": {}})["overall"].get("wer_next") or {}).get("n", 0) for key in ROWS}
    less = sorted({n for key, n in counts.items() if 0 < n < counts["full"]})
    if not less:
        return ""
    said = f"{less[0]:,}" if len(less) == 1 else f"{less[0]:,} to {less[-1]:,}"
    return f"words of all but the full program on {said} of the contexts"


def domain_table(report: dict[str, Any], key: str = "full") -> Table:
    """The figures of the program `key` in each domain."""
    table = Table(title=f"{ROWS[key].capitalize()} by domain", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("domain")
    for label in METRICS.values():
        table.add_column(label, justify="right")
    table.add_column("contexts", justify="right")
    for domain, block in report[key]["domains"].items():
        contexts = (block.get("wer_next") or {}).get("n", 0)
        table.add_row(Text(domain), *(figure(block.get(m), "\n") for m in METRICS), f"{contexts:,}")
    return table


def progress_lines(report: dict[str, Any]) -> Text:
    """The three progress numbers, which never stand alone."""
    progress = report["progress"]
    free = progress["residual_free"]
    text = Text("Progress\n", style="bold")
    if parts := progress.get("parts"):
        runs = ", ".join(f"{parts[form]:,} {said}" for form, said in RUNS.items())
        text.append(f"  parts run              {runs}\n", "not bold")
        text.append(
            f"    described            {parts['described']:,} of those have a source that does not run\n", "not bold"
        )
    for form in ("source", "lifted"):
        shares = ", ".join(f"{_percent(free[form][by])} by {by}" for by in ("parameters", "effect"))
        text.append(f"  residual-free, {form:<7} {shares} of QK and IN\n", style="not bold")
    for name, meaning in (("code", "QK, IN, biases, norms"), ("data", "embeddings, OV, OUT")):
        shares = ", ".join(f"{_percent(free[name][by])} by {by}" for by in ("parameters", "effect"))
        text.append(f"    of the {name:<15} {shares} ({meaning})\n", style="not bold")
    alone = progress["source_only"]
    text.append(
        f"  source-only fidelity   top-1 {figure(alone.get('top1'))} %, KL {figure(alone.get('kl'))}\n", "not bold"
    )
    evidence = progress["evidence"]
    kinds = ", ".join(f"{kind} {_percent(found['share'])}" for kind, found in evidence.get("kinds", {}).items())
    text.append(
        f"  described parts        {_percent(evidence['share'])} by effect: their sentence passed its test",
        style="not bold",
    )
    text.append(f"\n    of each kind         {kinds}" if kinds else "", style="not bold")
    text.append(_accounts(report.get("accounts")), style="not bold")
    text.append("".join(f"\n  not done: {said}" for said in report.get("hindered", [])), style="not bold")
    return text


def _accounts(found: dict[str, Any] | None) -> str:
    """What accounts cover, where there are any that were measured."""
    if not found:
        return ""
    (everywhere, of_hard), right, top1 = (
        [_share(found[of].get(name)) for of in ("all", "hard")] for name in ("covered", "precision", "top1")
    )
    size = f"{found['symbols']:,} symbols"
    return (
        f"\n  accounts               cover {everywhere} of positions, {of_hard} of hard ones; right there: {right[0]}, "
        f"{right[1]}\n    with a back-off      top-1 {top1[0]}, {top1[1]} at hard positions; {size}{_beside(found)}"
    )


def _beside(found: dict[str, Any]) -> str:
    """What is counted of tables and ties, and where nothing covers most; what was not measured is left out."""
    tables, ties, uncovered = (found.get(name) for name in ("tables", "ties", "uncovered"))
    said = ""
    if tables and tables["flagged"]:
        asked = f"{_share(tables['phantoms'])} of {tables['flagged']:,} asked are phantoms"
        said += f"\n    tables               {tables['lines']:,} lines; {asked}"
    if ties and ties["measured"]:
        said += f"\n    ties                 {ties['hold']:,} of {ties['measured']:,} variables tested hold"
    if uncovered and uncovered["kinds"]:
        often = ", ".join(f"{kind['behind']!r} {kind['n']:,}" for kind in uncovered["kinds"][:KINDS])
        said += f"\n    covered by nothing   {uncovered['places']:,} positions, most behind {often}"
    return said


def _share(entry: dict[str, Any] | None) -> str:
    return _percent(entry["value"] if entry else None)


def _percent(share: float | None) -> str:
    return "unmeasured" if share is None else f"{100 * share:.1f} %"


def gate_line(report: dict[str, Any]) -> Text:
    """Where both programs stand: the full one against the gate, and why, source-only against the references."""
    gate, found = report["gate"], standing(report)
    alone = " For next words alone it passes." if gate["passed"] is False and gate.get("next_word") else ""
    why = "" if gate["passed"] else "".join(f" {reason}" for reason in gate["reasons"]) + alone
    colour = {True: "bold yellow" if found["below"] else "bold green", False: "bold red", None: "yellow"}
    return Text(f"{_capital(found['said'])}.{why}", style=colour[gate["passed"]])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def readings(report: dict[str, Any]) -> str:
    """How often the held-out text was read, where the report says so, and whether anything was chosen by it."""
    held = report.get("heldout")
    if not held:
        return ""
    count, least = held["readings"], "at least " if held["at_least"] else ""
    often = "once" if count == 1 else f"{count} times"
    leans = "" if count == 1 and not least else ": what was decided in between may lean on it"
    if held["chosen_on"] == "heldout":
        leans = ", and what runs without residual was chosen on it"
    return f"\nheld-out text was read {least}{often} since the directory was made{leans}"


def scoreboard(report: dict[str, Any], domains_of: str = "full") -> RenderableType:
    """Everything above under one heading that says what was measured on what; domains for one of the programs."""
    subject, corpus = report["subject"], report["corpus"]
    head = Text(f"{subject['name']}  {subject['parameters']:,} parameters  weights {subject['weights_sha256'][:12]}\n")
    head.append(f"measured on: {corpus['origin']}{overlap_clause(corpus)}{readings(report)}")
    parts: list[RenderableType] = [head, fidelity_table(report)]
    if len(report[domains_of]["domains"]) > 1:
        parts.append(domain_table(report, domains_of))
    return Group(*parts, progress_lines(report), gate_line(report))


def overlap_clause(corpus: dict[str, Any]) -> str:
    """How much of the held-out text is not new, where any is."""
    found = corpus.get("overlap") or {"copied": 0, "alike": 0}
    if not found["copied"] and not found["alike"]:
        return ""
    said = f"{found['copied']:,} also stand in the text that was fitted on, {found['alike']:,} nearly do"
    return f"\nof its {found['stretches']:,} stretches of 1,000 characters {said}"


def show(report: dict[str, Any], domains_of: str = "full") -> None:
    """Print the scoreboard on standard output."""
    terminal().print(scoreboard(report, domains_of))

"""Parts in the terminal: what runs at an address, how it is known, and where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from pellucid.base.terminal import terminal
from pellucid.project.inventory import Entry, inventory
from pellucid.project.project import Project
from pellucid.verify.figures import figure

if TYPE_CHECKING:
    from pellucid.verify.examine import Estimates

MOST = 40
"""Parts that are shown in full; more are listed."""


def describe(project: Project, pattern: str) -> list[dict[str, Any]]:
    """Everything known about the parts that `pattern` names. Raises `PellucidError` with near misses if none."""
    return [_facts(entry) | (entry.detail() if entry.is_told else {}) for entry in _chosen(project, pattern)]


def _chosen(project: Project, pattern: str) -> list[Entry]:
    return inventory(project, set(project.listing().decoder.addresses.match(pattern)))


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "address": str(entry.address),
        "name": entry.name,
        "form": entry.state.form,
        "described": entry.state.described,
        "about": entry.about.said if entry.about else "",
        "residual": entry.state.residual,
        "verdict": entry.verdict,
        "parameters": entry.state.parameters,
        "effect": entry.state.effect,
        "note": entry.symbol.note if entry.symbol else "",
    }


def print_parts(project: Project, pattern: str) -> None:
    """Print the parts that `pattern` names: few in full, many as a table."""
    entries = _chosen(project, pattern)
    console = terminal()
    if len(entries) > MOST:
        console.print(_table(entries))
        return
    for entry in entries:
        console.print(_card(entry))


def _table(entries: list[Entry]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("address", "name", "runs", "residual", "verdict", "parameters", "effect, nats"):
        table.add_column(column, justify="right" if column in ("parameters", "effect, nats") else "left")
    for entry in entries:
        facts = _facts(entry)
        effect = "–" if entry.state.effect is None else f"{entry.state.effect:.2e}"
        facts["form"] += ", described" * entry.state.described
        texts = [str(facts[key]) for key in ("address", "name", "form", "residual", "verdict")]
        table.add_row(*map(Text, texts), f"{entry.state.parameters:,}", effect)
    return table


def _card(entry: Entry) -> RenderableType:
    state = entry.state
    head = Text(f"{entry.address}", style="bold")
    head.append(f"  {entry.name}" if entry.name else "", style="cyan")
    residual = f", residual {state.residual}" if state.form != "raw" or state.described else ""
    runs = "described, runs " * state.described + state.form
    head.append(f"  {runs}{residual}, {entry.verdict}; {state.parameters:,} parameters", style="not bold")
    if state.effect is not None:
        head.append(f"; mean in its place costs {state.effect:.2e} nats", style="not bold")
    lines: list[RenderableType] = [head]
    if entry.symbol and entry.symbol.note:
        lines.append(Text(f"  note: {entry.symbol.note}"))
    if entry.about:
        lines.append(Text(f"  {entry.about.said}", style="italic"))
    if entry.statement is None:
        lines.append(Text(f'  runs from the weights: raw("{entry.address}")'))
    else:
        idle = "; does not run in the full program" if state.described else ""
        lines.append(Text(f"  {entry.statement.at}, {entry.numbers} numbers{idle}", style="dim"))
        lines.append(_source(entry.text))
        lines += [Text(line) for line in _evidence(entry)]
    return Group(*lines, Text())


def _source(text: str) -> RenderableType:
    """Python in colours, where there are any; else as it stands, which takes a tenth of the time."""
    if not terminal().is_terminal:
        return Text(text)
    return Syntax(text, "python", background_color="default", word_wrap=True)


def _evidence(entry: Entry) -> list[str]:
    detail = entry.detail()["measured"]
    return [
        f"  {kind:<11} "
        + ", ".join(f"{metric} {figure(found)} (n {found['n']:,})" for metric, found in metrics.items())
        for kind, metrics in detail.items()
        if metrics
    ]


def print_figures(address: str, figures: Estimates) -> None:
    """Print what `examine` measured."""
    table = Table(title=f"{address} on held-out text", title_justify="left", pad_edge=False)
    table.add_column("")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for kind, metrics in figures.items():
        for metric, found in metrics.items():
            if found is not None:
                table.add_row(kind, metric, figure(found.to_dict()))
    terminal().print(table)


def figures_dict(figures: Estimates) -> dict[str, Any]:
    """What `examine` measured, as JSON."""
    return {kind: {m: found and found.to_dict() for m, found in metrics.items()} for kind, metrics in figures.items()}

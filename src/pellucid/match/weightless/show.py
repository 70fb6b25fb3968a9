"""The figures of a weightless program on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pellucid.match.weightless.decompile import Decompiled
from pellucid.match.weightless.measure import Share

EXIT_MISSED = 3
"""The exit code where a model was not decompiled: the program is written, with its true numbers."""


def show(found: Decompiled, directory: Path) -> None:
    """Print what was reached, and where the program lies."""
    figures, console = found.figures, Console(highlight=False)

    def line(label: str, said: str) -> None:
        console.print(f"{label:<11}{said}", soft_wrap=True, markup=False)

    line("Verdict", f"{figures.verdict}: {figures.summary}")
    if figures.sampled:
        line("Rows", "there is no inputs.jsonl.gz: rows were sampled from the vocabulary")
    for band, match in figures.match.items():
        every = ", every distinct row" if band in figures.enumerated else ""
        line("Match", f"{percent(match.rows)} of {match.rows.n} rows, band {band}{every}")
    line("Probes", "none exist" if figures.probes is None else f"{percent(figures.probes.clear)} of clear positions")
    for entry in figures.mechanism:
        line("Mechanism", f"{entry.value}: {percent(entry.agree)} of {entry.agree.n} interventions ({entry.addresses})")
    line("Size", f"{figures.numbers} numbers in {figures.lines} lines, budget {figures.budget}")
    for miss in figures.misses:
        line("Missed", miss)
    for caution in figures.cautions:
        line("Caution", caution)
    line("Program", f'{directory / "program" / "program.py"}  (python -m program "…" in {directory})')


def percent(share: Share) -> str:
    """A share in percent."""
    return "–" if share.value is None else f"{100 * share.value:.1f} %"

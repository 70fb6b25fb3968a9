"""A weightless program on the terminal: its figures, and its functions."""

from __future__ import annotations

from pathlib import Path

from rich.syntax import Syntax
from rich.text import Text

from pellucid.base.shell import quoted
from pellucid.base.terminal import terminal
from pellucid.weightless.functions import Function, functions
from pellucid.weightless.saved import SavedShare, ValueAgreement, read_saved

WIDTH = 120
"""Where standard output is no terminal it is as wide as the widest line of a program."""
EXIT_MISSED = 3
"""The exit code where a model was not decompiled: the program is written, with its true numbers."""


def show(directory: Path) -> None:
    """Print what was reached, and where the program lies. Raises `ProjectError` where the figures cannot be read."""
    figures, console = read_saved(directory), terminal()

    def line(label: str, said: str) -> None:
        console.print(Text(f"{label:<11}{said}"), soft_wrap=True)

    line("Verdict", f"{figures.verdict}: {figures.summary}")
    if figures.sampled:
        line("Rows", "there is no inputs.jsonl.gz: rows were sampled from the vocabulary")
    for band, match in figures.match.items():
        every = ", every distinct row" if band in figures.enumerated else ""
        line("Match", f"{percent(match.rows)} of {match.rows.n} rows, band {band}{every}")
    line("Probes", "none exist" if figures.probes is None else f"{percent(figures.probes)} of clear positions")
    for value in figures.mechanism:
        line("Mechanism", f"{value.name}: {agreement(value)} ({' '.join(value.addresses)})")
    line("Size", f"{figures.numbers} numbers in {figures.lines} lines, budget {figures.budget}")
    for miss in figures.misses:
        line("Missed", miss)
    for caution in figures.cautions:
        line("Caution", caution)
    line("Program", f'{directory / "program" / "program.py"}  (python -m program "…" in {quoted(directory)})')


def agreement(value: ValueAgreement) -> str:
    """How a value agrees under interventions."""
    return f"{percent(value)} of {value.n} interventions"


def percent(share: SavedShare | ValueAgreement) -> str:
    """A share in percent."""
    return "–" if share.value is None else f"{100 * share.value:.1f} %"


def show_functions(directory: Path, pattern: str) -> None:
    """Print the functions of the program in `directory` that `pattern` names, as `functions` finds them."""
    console = terminal(WIDTH)
    for at, function in enumerate(functions(directory, pattern)):
        console.print(Text("\n" if at else ""), _head(function), sep="", soft_wrap=True)
        console.print(Syntax(function.source, "python", background_color="default", word_wrap=True))


def _head(function: Function) -> Text:
    head = Text(function.name, style="bold")
    stands = f"  for {' '.join(function.addresses)}" if function.addresses else ""
    measured = f"; {agreement(function.value)}" if function.value else ""
    return head.append(f"{stands}{measured}  program.py:{function.line}", style="not bold")

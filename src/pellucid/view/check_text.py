"""What a check found, in the terminal."""

from __future__ import annotations

from rich.text import Text

from pellucid.base.terminal import terminal
from pellucid.verify.check import Check


def print_check(found: Check) -> None:
    """Print what a check found on standard output: a line for each failure, or for each thing that is well."""
    console = terminal()
    for failure in found.failures:
        line = Text("worse  ", "bold red").append(
            f"{failure.kind}  {failure.about}: {failure.message}", "not bold default"
        )
        console.print(line, soft_wrap=True)
    if found.passed:
        for what in found.checked:
            console.print(Text("ok     ", "bold green").append(what, "not bold default"), soft_wrap=True)

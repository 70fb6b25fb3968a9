"""What is worth working on next, in the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from pellucid.base.terminal import terminal
from pellucid.verify.next import Suggestion


def print_suggestions(found: list[Suggestion]) -> None:
    """Print what `next_parts` found on standard output."""
    console = terminal()
    if not found:
        console.print("Nothing is left: every QK and IN is explained as far as it was measured.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("part", "name", "runs", "verdict", "unexplained", "effect", "score", "swapped in", "similar parts"):
        right = column in ("unexplained", "effect", "score", "swapped in")
        table.add_column(column, justify="right" if right else "left", no_wrap=column not in ("name", "similar parts"))
    for entry in found:
        left = f"{entry.left:.2e}" if entry.ranked_by == "effect" else f"{entry.left:,.0f} parameters"
        figures = (_digits(entry.effect), "–" if entry.score is None else f"{entry.score:.2f}")
        swapped = ("≈" if entry.estimated else "") + _digits(entry.kl)
        alike = ", ".join(f"{name} {value:.2f}" for name, value in entry.similar[:2])
        table.add_row(
            *map(Text, (entry.address, entry.name, entry.runs, entry.verdict, left, *figures, swapped, alike))
        )
    console.print(table)
    console.print(
        "\nUnexplained, effect and swapped in: nats per token (≈: estimated). Try one with: pellucid scratch DIR PART"
    )
    if any(entry.ranked_by == "parameters" for entry in found):
        console.print("The effect of parts ranked by parameters was never measured; `pellucid decompile` measures it.")


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2e}"

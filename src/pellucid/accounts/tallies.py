"""What is counted of tables and ties: lines that the text never tells, lines that were looked up, ties that hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Int
from torch import Tensor

from pellucid.accounts.asked import NEVER, OTHERWISE, TOLD
from pellucid.accounts.language import Said, Table
from pellucid.accounts.meter import Proportion
from pellucid.accounts.ties.choose import ENOUGH

ABOVE_RANDOM = 0.2
"""A tie that holds agrees so much more often than the best random set."""
Counted = dict[str, dict[str, list[int]]]
"""By table and key: at how many places a line was looked up for what was said, and how often that was right."""


class LineCounts:
    """Counts the lines of tables that were looked up for what accounts say, beside what the model says (`own`)."""

    def __init__(self, own: Int[Tensor, "row pos"]) -> None:
        self._own = own.tolist()
        self.counted: Counted = {}

    def hear(self, row: int, place: int, said: Said) -> None:
        """Count the lines behind what is `said` at a place."""
        for table, key in said.lines:
            found = self.counted.setdefault(table, {}).setdefault(key, [0, 0])
            found[0] += 1
            found[1] += said.token == self._own[row][place]


def tables_told(tables: Mapping[str, Table], counted: Counted) -> dict[str, Any]:
    """How many lines say whether the text tells them, how many of these it never does, or tells otherwise.

    `looked_up` is the share of phantoms among them by the places where they were looked up.
    """
    flags = {(name, key): told for name, table in tables.items() for key, told in flags_of(table).items()}
    phantoms = [line for line, told in flags.items() if told == NEVER]
    places = {line: counted.get(line[0], {}).get(line[1], [0])[0] for line in flags}
    return {
        "lines": sum(len(table.lines) for table in tables.values()),
        "flagged": len(flags),
        "phantoms": Proportion(len(phantoms), len(flags)).to_dict(),
        "otherwise": sum(told == OTHERWISE for told in flags.values()),
        "looked_up": Proportion(sum(places[line] for line in phantoms), sum(places.values())).to_dict(),
    }


def flags_of(table: Table) -> dict[str, str]:
    """What each line says of whether the text tells it, by key; nothing of a table without that column."""
    if TOLD not in table.columns:
        return {}
    at = table.columns.index(TOLD)
    return {key: cells[at] for key, cells in table.lines.items()}


def ties_told(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many variables there are, of how many it was measured what carries them, and how many of these ties hold."""
    measured = [told["measured"] for told in variables.values() if told.get("measured")]
    return {"variables": len(variables), "measured": len(measured), "hold": sum(map(holds, measured))}


def holds(tie: Mapping[str, Any]) -> bool:
    """Whether a tie that was measured agrees often, and much more often than random sets of its size."""
    agreement, random = tie["agreement"]["value"], tie["random"]["value"]
    if tie["tie"] is None or agreement is None or random is None:
        return False
    return bool(agreement >= ENOUGH and agreement >= random + ABOVE_RANDOM)

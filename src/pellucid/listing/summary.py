"""What a whole program is, in a few lines at its front: what runs from text, what from weights, what only describes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pellucid.base.address import Address
from pellucid.family.blocks import Decoder
from pellucid.family.partition import count
from pellucid.listing.parse import StatementPage

_FILES = 3
"""Files that are named one by one."""


@dataclass(frozen=True)
class Held:
    """The parts of a page and of the descriptions beside it, by what is said of them; lifted is never from text too.

    `idle` are those with a source that does not run; of these `told` stand among the descriptions.
    """

    sources: frozenset[Address]
    lifted: frozenset[Address]
    told: frozenset[Address]
    idle: frozenset[Address]

    @staticmethod
    def of(page: StatementPage, beside: StatementPage | None, dropped: Collection[Address] | None) -> Held:
        """What two pages hold, as far as it is known which residuals are `dropped`."""
        written = frozenset(address for address, _ in page.sources())
        lifted = frozenset(address for address, said in page.explained() if said.part_form == "lifted")
        told = frozenset(address for address, _ in beside.sources()) if beside else frozenset()
        on = frozenset() if dropped is None else written - {*dropped}
        idle = told | (written & lifted) | on
        return Held(written - idle, lifted, told, idle)


def table(held: Mapping[str, tuple[Held, str]], decoder: Decoder) -> list[str]:
    """A line for each way in which parts run, with how many, their share of all parameters, and where that is said.

    `held` has the parts of a page and the file that describes them, by the page's name.
    """
    whole = {address: count(address, decoder) for address in decoder.addresses.addresses()}
    rows: list[tuple[str, set[Address], list[str]]] = []
    for label, which in (("from text", "sources"), ("lifted: few directions, or a mean", "lifted")):
        found = {name: getattr(one, which) for name, (one, _) in held.items()}
        rows.append((label, set().union(*found.values()), [name for name, some in found.items() if some]))
    rest = whole.keys() - rows[0][1] - rows[1][1]
    rows.append(("from the weights", rest, []))
    idle = set[Address]().union(*(one.idle for one, _ in held.values()))
    rows.append(("described in text: does not run", idle, [name for one, name in held.values() if one.told]))
    all_parameters = sum(whole.values())
    lines = [f"{'what runs':36}{'parts':>8}{'parameters':>13}   said in"]
    for label, parts, files in rows:
        share = 100 * sum(whole[address] for address in parts) / all_parameters
        lines.append(f"    {label:34}{len(parts):6,}{share:11.1f} %   {listed(files)}".rstrip())
    return lines


def listed(files: Iterable[str]) -> str:
    """Names of files, of many the first and the last alone."""
    names = list(files)
    return ", ".join(names) if len(names) <= _FILES else f"{names[0]} to {names[-1]}"

"""Brings what emission wrote to its place: what runs into the files of layers, the rest among the descriptions.

A source runs where its residual is dropped and nothing lifted stands beside it. What a person wrote is never moved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pellucid.base.address import Address
from pellucid.listing import pages
from pellucid.listing.about import sides
from pellucid.listing.draft import Draft, Revision, staying
from pellucid.listing.parse import Listing, StatementPage, read_page
from pellucid.listing.rows import ROWS
from pellucid.listing.statement import STORED, Statement, described_name, page_name
from pellucid.program.prelude import APART


def arranged(
    listing: Listing, dropped: Collection[Address], effects: Mapping[Address, float] | None = None
) -> Revision:
    """The program arranged, where the residuals in `dropped` are dropped.

    Rows of neurons are sorted by what the parts' means cost, `effects`, the largest first, where those are known.
    """
    draft = Draft(listing)
    _move(draft, {*dropped})
    if effects:
        for name, page in list(draft.pages.items()):
            if (text := _sorted(page, effects)) != page.text:
                draft.pages[name] = read_page(page.path, draft.hashes, text)
    return draft.revised(dropped)


# --- places -----------------------------------------------------------------------------------------------------------


def _move(draft: Draft, dropped: set[Address]) -> None:
    """Let every source stand where it belongs."""
    listing = draft.listing
    stays = staying(listing)
    leaves: dict[str, dict[str, str | None]] = {}
    comes: dict[str, dict[str, str | None]] = {}
    for statement in _own(listing):
        if statement.form == "constants":
            continue
        runs = _runs(listing, Address.parse(statement.key), dropped) and not stays & {*statement.reads}
        if runs is statement.described:
            home = page_name(statement.key)
            leaves.setdefault(statement.file.name, {})[statement.key] = None
            comes.setdefault(home if runs else described_name(home), {})[statement.key] = statement.text
    _move_constants(listing, dropped, comes)
    for edits in (leaves, comes):
        for name, of_page in edits.items():
            draft.put(name, of_page)


def _own(listing: Listing) -> Iterator[Statement]:
    """The sources that emission wrote."""
    for page in listing.pages.values():
        for statement in page.statements:
            if not statement.by_person and statement.form not in ("raw", *STORED):
                yield statement


def _move_constants(listing: Listing, dropped: set[Address], comes: dict[str, dict[str, str | None]]) -> None:
    """Let the constants of a layer that run stand in its file, the others among the descriptions."""
    for name in [name for name in listing.pages if name.startswith("layer_")]:
        at = f"L{name[6:-3]}.IN"
        both = {key: listing.statements.get(key) for key in (at, f"{at}{APART}")}
        own = {key: found for key, found in both.items() if found and not found.by_person}
        if len(own) < sum(found is not None for found in both.values()) or not own:
            continue
        values = {neuron: value for found in own.values() for neuron, value in found.values.items()}
        layer = int(name[6:-3])
        free = {neuron for neuron in values if _runs(listing, Address("IN", layer, neuron), dropped)}
        for key, page, chosen in ((at, name, free), (f"{at}{APART}", described_name(name), values.keys() - free)):
            held = {neuron: values[neuron] for neuron in sorted(chosen)}
            if held != (own[key].values if key in own else {}):
                comes.setdefault(page, {})[key] = pages.constants(at, held) if held else None


def _runs(listing: Listing, address: Address, dropped: set[Address]) -> bool:
    return address in dropped and listing.lifted(address) is None


# --- order ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Unit:
    """A row of a neuron, with the text about it above it, or one of the two: lines from `first` to before `end`."""

    neuron: Address
    first: int
    end: int
    spaced: bool
    """Whether it has a text, which sets it apart."""


def _sorted(page: StatementPage, effects: Mapping[Address, float]) -> str:
    """The text of a page with the rows that emission wrote in the order of their effects, those with texts set apart.

    Rows in order between which other things stand are left there.
    """
    units = sorted(_units(page), key=lambda unit: unit.first)
    ranked = sorted(units, key=lambda unit: (-effects.get(unit.neuron, 0.0), unit.neuron, not unit.spaced))
    between = [line for one, other in pairwise(units) for line in page.lines[one.end : other.first]]
    if not units or (ranked == units and any(between)):
        return page.text
    block: list[str] = []
    told = {unit.neuron for unit in units if unit.spaced}
    for before, unit in zip([None, *ranked], ranked, strict=False):
        block += [""] if before and before.neuron != unit.neuron and told & {before.neuron, unit.neuron} else []
        block += [line for line in page.lines[unit.first : unit.end] if line]
    gone = {line for unit in units for line in range(unit.first, unit.end)}
    above = page.lines[: units[0].first]
    below: list[str] = []
    for number, line in enumerate(page.lines[units[0].first :], units[0].first):
        if number not in gone and (line or below[-2:] != ["", ""]):
            below.append(line)
    while below and not below[0]:
        del below[0]
    blank = 2 if below and below[0].startswith(("@", "def ")) else 1
    return "\n".join([*above, *block, *([""] * blank if below else []), *(below or [""])])


def _units(page: StatementPage) -> Iterator[_Unit]:
    """The rows of a page that emission wrote, and what it says about neurons."""
    texts = {about.address: about for about in page.abouts if ".N" in about.address}
    for statement in page.statements:
        name = statement.key.rpartition(".")[0]
        if not statement.text.startswith(ROWS):
            continue
        about = texts.get(name)
        stands = (
            about is not None and about.end < statement.line and not any(page.lines[about.end : statement.line - 1])
        )
        above = about if stands else None
        if above:
            del texts[name]
        if not statement.by_person and not (above and above.by_person):
            first = (above or statement).line - 1
            yield _Unit(Address.parse(statement.key), first, statement.end, above is not None)
    for name, about in texts.items():
        if not about.by_person:
            yield _Unit(Address.parse(sides(name)[0]), about.line - 1, about.end, spaced=True)

"""Sources that a person changed although they do not run, as the program itself tells of them (`program/idle.py`)."""

from __future__ import annotations

from collections.abc import Collection

from pellucid.base.address import Address
from pellucid.listing.parse import Listing
from pellucid.listing.statement import Statement

OFF: dict[str | None, tuple[str, ...]] = {None: (), "code": ("QK", "IN")}
"""The kinds whose residuals a run switches off."""


def idle(listing: Listing, dropped: Collection[Address], off: Collection[str] = ()) -> list[Statement]:
    """The sources that a person wrote and of which no part runs; those of the kinds `off` do."""
    found: dict[tuple[str, int], Statement] = {}
    for page in listing.pages.values():
        for address, statement in page.sources():
            if statement.by_person and address.kind not in off and is_idle(listing, dropped, address):
                found[statement.file.name, statement.line] = statement
    return [found[place] for place in sorted(found)]


def is_idle(listing: Listing, dropped: Collection[Address], address: Address) -> bool:
    """Whether the source of a part does not run: its residual is on, or the part runs lifted, and it is no edit."""
    edited = listing.edits is not None and str(address) in listing.edits.based
    return not edited and (address not in dropped or listing.lifted(address) is not None)

"""How many numbers a source holds."""

from __future__ import annotations

from pellucid.listing.parse import Page


def numbers_of(page: Page) -> int:
    """All numbers in the sources of a page."""
    return 0 * len(page.statements)

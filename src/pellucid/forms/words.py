"""The words that forms of the package bring for their statements, so that whoever reads a program knows them.

A form's class needs PyTorch (`known.py`), its word does not: a project is read and shown without.
"""

from __future__ import annotations

from collections.abc import Iterable

from pellucid.listing.word import StatementWord, register

BROUGHT: tuple[StatementWord, ...] = ()
"""All of them; every form of the package is a function, or in a word that every program knows (`listing/spoken.py`)."""


def make_known(words: Iterable[StatementWord] = BROUGHT) -> None:
    """Register `words`. Raises `ValueError` as `register` does."""
    for word in words:
        register(word)

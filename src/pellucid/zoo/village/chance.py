"""Skewed choices and stable hashes: all chance in the village goes through here."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

LEAD = 2.5
"""How much likelier the first option of a choice is than each of the others."""


def pick(rng: Random, options: Sequence[T], lead: float = LEAD) -> T:
    """The first of `options` with weight `lead`, each other with weight 1: "most likely" is well defined."""
    ticket = rng.random() * (len(options) - 1 + lead)
    return options[0] if ticket < lead else options[min(1 + int(ticket - lead), len(options) - 1)]


def stable_hash(*words: object) -> int:
    """The same 32-bit number for the same words in every process."""
    return zlib.crc32("/".join(map(str, words)).encode())

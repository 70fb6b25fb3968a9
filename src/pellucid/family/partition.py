"""The partition: addresses that are treated together, and how many parameters each owns (`family/owners.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pellucid.base.address import Address
from pellucid.family.blocks import Decoder
from pellucid.family.owners import owned
from pellucid.family.slots import Rectangle

PartForm = Literal["raw", "lifted", "source"]
Residual = Literal["on", "dropped"]


@dataclass(frozen=True)
class Part:
    """One or several addresses treated together.

    `source` names file and function of what runs, `layer_00.py:previous_token`, `described` of a source that does not.
    """

    addresses: tuple[Address, ...]
    form: PartForm = "raw"
    residual: Residual = "on"
    source: str | None = None
    described: str | None = None


def parameters(address: Address, decoder: Decoder) -> list[Rectangle]:
    """The parameters that `address` owns. Raises `PellucidError` for an address that the subject does not have."""
    return owned(decoder, address)


def count(address: Address, decoder: Decoder) -> int:
    """How many parameters `address` owns."""
    return sum(piece.size for piece in parameters(address, decoder))

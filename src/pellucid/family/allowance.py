"""How many numbers a lifted part holds, and how many it may hold.

A head that is lifted to rank r writes `mix(x @ read) @ write + bias`: r · model numbers to read with, as many to write
with, and a bias. One whose values are shared reads what it mixes, with r · dim numbers: `mix(v) @ read @ write + bias`.
One that looks by r directions compares `x @ read_q + bias` with `x @ read_k`. What is the same
everywhere is one vector, or, for neurons, one that all of a layer's share. Neurons that read channels have r weights
and a bias each, and share the r · model numbers that the channels are read with.
"""

from __future__ import annotations

import math

from pellucid.base.address import Address, PartKind
from pellucid.family.blocks import Decoder
from pellucid.family.partition import count

LIFTED_SHARE = 0.45
"""The most numbers that a lifted part may hold, as a share of the raw part's."""


def lifted_numbers(kind: PartKind, decoder: Decoder, *, rank: int = 0, sharing: int = 1) -> int:
    """The numbers of a lifted part of `kind` at `rank` (0: its mean); of neurons, those of one that `sharing` share.

    A head that looks at all keys alike (QK, rank 0) holds none.
    """
    if kind == "QK":
        return (2 * decoder.sizes.model + 1) * rank
    if kind == "IN":
        return math.ceil(decoder.sizes.model * rank / sharing) + rank + 1
    if kind == "OV":
        return rank * (read_by(decoder) + decoder.sizes.model) + decoder.sizes.model
    return math.ceil((2 * rank + 1) * decoder.sizes.model / sharing)


def most_rank(decoder: Decoder, kind: PartKind = "OV", sharing: int = 1) -> int:
    """The highest rank that a head's OV or QK may be lifted to, or that `sharing` neurons may read; 0 if none."""
    allowed = LIFTED_SHARE * count(Address(kind, 0, 0), decoder)
    if kind == "QK":
        return int(allowed / (2 * decoder.sizes.model + 1))
    if kind == "IN":
        most = int((allowed - 1) / (1 + decoder.sizes.model / sharing)) if sharing else 0
        fits = (r for r in (most, most - 1) if lifted_numbers("IN", decoder, rank=r, sharing=sharing) <= allowed)
        return max(0, next(fits, 0)) if sharing else 0
    return max(0, int((allowed / decoder.sizes.model - 1) / (1 + read_by(decoder) / decoder.sizes.model)))


def read_by(decoder: Decoder) -> int:
    """How many coordinates a lifted head reads: of the stream, or of what it mixes where that is not its own."""
    return decoder.sizes.model if decoder.alone else decoder.sizes.dim


def fewest_readers(decoder: Decoder, rank: int) -> int:
    """How many neurons of a layer must share `rank` channels; more than there are if no number is enough."""
    enough = (n for n in range(1, decoder.sizes.neuron + 1) if most_rank(decoder, "IN", n) >= rank)
    return next(enough, decoder.sizes.neuron + 1)


def fewest_means(decoder: Decoder) -> int:
    """How many neurons of a layer must share the vector of their mean writes; more than there are if none may."""
    allowed = LIFTED_SHARE * decoder.sizes.model
    enough = (n for n in range(1, decoder.sizes.neuron + 1) if lifted_numbers("OUT", decoder, sharing=n) <= allowed)
    return next(enough, decoder.sizes.neuron + 1)

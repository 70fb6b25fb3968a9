"""How many numbers a lifted part holds, and how many it may hold.

A head that is lifted to rank r writes `mix(x @ read) @ write + bias`: r · model numbers to read with, as many to write
with, and a bias. What is the same everywhere is one vector, or, for neurons, one that all of a layer's share.
"""

from __future__ import annotations

import math

from pellucid.base.address import Address, Kind
from pellucid.parts.part import count
from pellucid.subject.gpt2 import GPT2Config

LIFTED_SHARE = 0.45
"""The most numbers that a lifted part may hold, as a share of the raw part's."""


def lifted_numbers(kind: Kind, config: GPT2Config, *, rank: int = 0, sharing: int = 1) -> int:
    """The numbers of a lifted part of `kind`: of a head's OV at `rank` (0: its mean), or one of `sharing` neurons.

    A head that looks at all keys alike (QK) holds none.
    """
    if kind == "QK":
        return 0
    return math.ceil((2 * rank + 1) * config.n_embd / sharing)


def most_rank(config: GPT2Config) -> int:
    """The highest rank that a head's OV may be lifted to; 0 if it may have its mean alone."""
    allowed = LIFTED_SHARE * count(Address("OV", 0, 0), config)
    return max(0, int((allowed / config.n_embd - 1) / 2))


def fewest_means(config: GPT2Config) -> int:
    """How many neurons of a layer must share the vector of their mean writes; more than there are if none may."""
    allowed = LIFTED_SHARE * config.n_embd
    enough = (n for n in range(1, config.n_inner + 1) if lifted_numbers("OUT", config, sharing=n) <= allowed)
    return next(enough, config.n_inner + 1)

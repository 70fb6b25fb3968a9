"""Linking: which parts can run their source alone, all of them at once.

Parts are taken in the order of their estimated cost for what it is worth to do without them, cheapest first, and judged
jointly in blocks: the first block is as long as the estimates promise. A block that fails is bisected, its first half
tried before its second; what is accepted has therefore always passed together with everything accepted before it,
whatever the estimates said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, TypeVar

Part = TypeVar("Part")


@dataclass
class Link(Generic[Part]):
    """What linking found: the accepted parts in order, and every trial as (parts judged together, passed)."""

    accepted: list[Part] = field(default_factory=list)
    trials: list[tuple[int, bool]] = field(default_factory=list)


def link(
    parts: Sequence[Part],
    costs: Sequence[float],
    promised: float,
    passes: Callable[[Sequence[Part]], bool],
    trials: int,
    sizes: Sequence[float] | None = None,
) -> Link[Part]:
    """Accept as many of `parts` as pass together.

    `costs` are estimated KL increases (nats per token), `promised` the sum of them that is expected to pass, `passes`
    the joint judgement of a list of parts, and `trials` the most judgements that may be made. `sizes` are
    what the parts are worth, all alike if None.
    """
    prices = costs if sizes is None else [cost / size for cost, size in zip(costs, sizes, strict=True)]
    order = sorted(range(len(parts)), key=lambda i: (prices[i], i))
    totals = list(accumulate(costs[i] for i in order))
    cut = sum(total <= promised for total in totals)
    result: Link[Part] = Link()

    def fits(block: Sequence[int]) -> bool:
        tried = [*result.accepted, *(parts[i] for i in block)]
        passed = passes(tried)
        result.trials.append((len(tried), passed))
        if passed:
            result.accepted = tried
        return passed

    def add(block: Sequence[int], failed: bool = False) -> bool:
        """Accept what fits of `block`, which is known not to fit as a whole if it has `failed`."""
        if not block or (not failed and len(result.trials) >= trials):
            return not block
        if not failed and fits(block):
            return True
        if len(block) > 1:
            half = (len(block) + 1) // 2
            whole = add(block[:half])
            add(block[half:], failed=whole)
        return False

    for block in (order[:cut], order[cut : 2 * cut + 1], order[2 * cut + 1 :]):
        add(block)
    return result

"""From minutes to steps of training: by the sizes of the model alone, so that the same model always gets the same.

No clock is read. The speed is that of one core of a common machine; elsewhere the same steps take more time or less.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.family.blocks import Decoder
from pellucid.stages.understand.plan import MOST_BRISK, Plan, plan_of, readable, step_tokens
from pellucid.stages.understand.student import SHIFTS, features, reach

SPEED = 2.2e10
"""Multiplications that one core does in a second of training (measured with `zoo:village`, 0.34 s a step)."""
BEGINNING = 120
"""Finding first kinds, values and patterns takes as long as so many steps."""
PRINTING = 1.4e-3
"""Seconds that it takes to print a program and count its numbers, four times, for each of them."""
ENTRY = 0.02
"""Seconds that a step takes for every layer, however small."""
WORTH = 100
"""Fewer steps do worse than a table of trigrams: then nothing is trained."""


@dataclass(frozen=True)
class Budget:
    """So many `steps` of training, which take about so many `seconds` of one core; and what they were turned from."""

    steps: int
    seconds: float
    minutes: float

    def __str__(self) -> str:
        return f"{self.steps:,} steps of training, about {self.seconds / 60:.1f} min of one core"


def within(decoder: Decoder, numbers: int, minutes: float) -> Budget:
    """As many steps as fit into so many minutes for sources of at most `numbers` numbers; none if they are too few."""
    low, high = WORTH - 1, MOST_BRISK
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if seconds(decoder, numbers, middle) <= 60 * minutes else (low, middle - 1)
    return Budget(low, seconds(decoder, numbers, low), minutes) if low >= WORTH else Budget(0, 0.0, minutes)


def given(decoder: Decoder, numbers: int, steps: int) -> Budget:
    """So many steps, and about how long they take."""
    return Budget(steps, seconds(decoder, numbers, steps) if steps else 0.0, 0.0)


def needed(decoder: Decoder, numbers: int) -> float:
    """The fewest minutes that `within` turns into any steps."""
    return seconds(decoder, numbers, WORTH) / 60


def seconds(decoder: Decoder, numbers: int, steps: int) -> float:
    """About how long so many steps take one core, with all that goes before and with printing."""
    printed = PRINTING * min(numbers, readable(decoder, steps))
    return (BEGINNING + steps) * step_seconds(decoder, steps) + printed


def step_seconds(decoder: Decoder, steps: int) -> float:
    """About how long each of so many steps takes one core."""
    tokens, plan = step_tokens(decoder, steps), plan_of(decoder, steps, 1)
    return tokens * multiplications(decoder, plan) / SPEED + ENTRY * decoder.layers


def multiplications(decoder: Decoder, plan: Plan) -> int:
    """Of a step, for each token: of the subject forward, and of the student and what it acts through both ways."""
    width, inner, heads, last = decoder.sizes.model, decoder.sizes.neuron, decoder.sizes.head, decoder.layers - 1
    student = 0
    for layer in range(decoder.layers):
        known, before = features(plan, heads, layer), len(reach(layer)) - 1
        student += (known + before * inner) * plan.values + plan.values * inner
        student += 2 * heads * plan.rank * plan.kinds * SHIFTS
        if layer < last:
            student += (known + (before + 1) * inner) * plan.late
    engine = decoder.layers * (2 * width * width + inner * width) + decoder.sizes.vocab * width
    return 3 * (student + engine) + weights(decoder)


def weights(decoder: Decoder) -> int:
    """About how many numbers the matrices of a subject hold."""
    width, inner = decoder.sizes.model, decoder.sizes.neuron
    return decoder.layers * (4 * width * width + 2 * width * inner) + decoder.sizes.vocab * width

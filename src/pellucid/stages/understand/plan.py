"""The sizes of an understanding: how many kinds, values and terms, and what each of their numbers costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pellucid.base.errors import CorpusError
from pellucid.family.blocks import Decoder

STEP_TOKENS = 2048
"""Tokens of fit text that a step of training reads of a model as wide as `STEP_WIDTH` or less."""
STEP_WIDTH = 256
MOST_BRISK = 999
"""Training of so many steps or fewer is brisk: half the text a step, fewer kinds and values, and pruned sooner."""
LEAST_STEPS = 4
"""Fewer steps cannot prune, share and tune one after the other."""
TOKENS_A_NUMBER = 2
"""The least tokens of fit text that must stand behind every number of a program."""
COEFFICIENT = 0.4
"""What a coefficient costs that several terms may share."""
SUMMAND = 1.4
"""What a term of a value or head costs that names a kind or value: its coefficient, and the syntax around it."""
NUMBERED = 1.0
"""What the number of a neuron costs, or which value a neuron reads."""
SEEN = 2.2
"""What a head's name costs, and which kind or value it sees: not all of its terms share a call."""
RAMP = 4.0
"""What a term costs that counts positions up to some place, as a share of it: two numbers more."""
BEND = 3.0
"""What a bend of a curve costs: its place, which is no number of others, and its coefficient."""
MEMBER = 1.1
"""What a token of a kind costs beside its text: its name there, and its share of a level."""
REACH = 4
"""Values build on the heads and neurons of so many layers; what is older has to be carried on by late values."""


@dataclass(frozen=True)
class Plan:
    """`kinds` of tokens, `values` and `late` values a layer, products of `rank` pairs in a head's scores, `steps`.

    `budget` is how many numbers the sources may hold in all, when training ends. A `brisk` training has few steps: it
    goes further each, prunes all the sooner, so that there are steps left to make up for it, and is counted less often.
    """

    kinds: int
    values: int
    late: int
    rank: int
    steps: int
    budget: int
    brisk: bool = field(default=False, repr=False)

    @property
    def rate(self) -> float:
        """How far a step goes, in sizes of what it moves."""
        return 1e-2 if self.brisk else 6e-3

    @property
    def first_budgets(self) -> float:
        """What a student may cost when pruning begins, in budgets of its program."""
        return 20.0 if self.brisk else 8.0

    @property
    def prune_every(self) -> int:
        """After how many steps numbers are left out again."""
        return 4 if self.brisk else 10

    @property
    def judge_every(self) -> int:
        """After how many steps tune text is consulted in the last phase."""
        return max(1, int((0.08 if self.brisk else 0.04) * self.steps))

    @property
    def judged(self) -> float:
        """The share of tune text that is consulted then."""
        return 0.5 if self.brisk else 1.0

    @property
    def dense_until(self) -> int:
        """The step at which pruning begins."""
        return self.steps // (50 if self.brisk else 20)

    @property
    def counted_at(self) -> tuple[int, ...]:
        """The steps of pruning, in tenths of it, at which it is counted what a program of the student holds."""
        at = (9,) if self.brisk else (5, 7, 9)
        return tuple(self.dense_until + (self.pruned_at - self.dense_until) * tenths // 10 for tenths in at)

    @property
    def pruned_at(self) -> int:
        """The step at which the budget is kept."""
        return self.steps * (8 if self.brisk else 13) // 20

    @property
    def levelled_at(self) -> int:
        """The step at which the tokens of a kind are joined into few levels."""
        return max(self.pruned_at + 1, self.steps * 3 // (5 if self.brisk else 4))


def step_tokens(decoder: Decoder, steps: int) -> int:
    """Tokens of fit text that each of so many steps reads: fewer of a wide model, but at least one row."""
    tokens = STEP_TOKENS // 2 if steps <= MOST_BRISK else STEP_TOKENS
    return max(decoder.sizes.pos, tokens * STEP_WIDTH // max(STEP_WIDTH, decoder.sizes.model))


def readable(decoder: Decoder, steps: int) -> int:
    """How many numbers sources may hold at most, whatever their budget, when training reads text for so many steps."""
    return steps * step_tokens(decoder, steps) // TOKENS_A_NUMBER


def plan_for(decoder: Decoder, budget: int, steps: int, fit_tokens: int) -> Plan:
    """The plan for a subject within `budget` numbers, or as many as text stands behind that `steps` read.

    Raises `CorpusError` where fit text is too short for that.
    """
    budget = min(budget, readable(decoder, steps))
    needed = TOKENS_A_NUMBER * budget
    if fit_tokens < needed // decoder.sizes.pos * decoder.sizes.pos:
        raise CorpusError(
            f"{fit_tokens:,} tokens of fit text are too few for sources of {budget:,} numbers; give at least "
            f"{needed:,} tokens (--fit-corpus), or a smaller --size, or fewer steps"
        )
    return plan_of(decoder, steps, budget)


def plan_of(decoder: Decoder, steps: int, budget: int) -> Plan:
    """The plan of so many steps for a subject, whatever the text."""
    kinds = max(1, min(decoder.sizes.model, 192, decoder.sizes.vocab - 1))  # centred embeddings span no more
    values, late, rank = min(decoder.sizes.model, 96), min(decoder.sizes.model, 64), min(decoder.sizes.dim, 16)
    brisk = steps <= MOST_BRISK
    if brisk:
        kinds, values, late = max(1, kinds * 3 // 4), max(1, values * 2 // 3), max(1, late * 3 // 4)
    return Plan(kinds=kinds, values=values, late=late, rank=rank, steps=steps, budget=budget, brisk=brisk)

"""The sizes of an understanding: how many kinds, values and terms, and what each of their numbers costs."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.base.errors import CorpusError
from pellucid.subject.gpt2 import GPT2Config

STEP_TOKENS = 2048
"""Tokens of fit text that a step of training reads of a model as wide as `STEP_WIDTH` or less."""
STEP_WIDTH = 256
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

    `budget` is how many numbers the sources may hold in all, when training ends.
    """

    kinds: int
    values: int
    late: int
    rank: int
    steps: int
    budget: int

    @property
    def dense_until(self) -> int:
        """The step at which pruning begins."""
        return self.steps // 20

    @property
    def counted_at(self) -> tuple[int, ...]:
        """The steps of pruning, in tenths of it, at which it is counted what a program of the student holds."""
        return tuple(self.dense_until + (self.pruned_at - self.dense_until) * tenths // 10 for tenths in (5, 7, 9))

    @property
    def pruned_at(self) -> int:
        """The step at which the budget is kept."""
        return self.steps * 13 // 20

    @property
    def levelled_at(self) -> int:
        """The step at which the tokens of a kind are joined into few levels."""
        return max(self.pruned_at + 1, self.steps * 3 // 4)


def step_tokens(config: GPT2Config) -> int:
    """Tokens of fit text that a step of training reads: fewer of a wide model, but at least one row."""
    return max(config.n_positions, STEP_TOKENS * STEP_WIDTH // max(STEP_WIDTH, config.n_embd))


def readable(config: GPT2Config, steps: int) -> int:
    """How many numbers sources may hold at most, whatever their budget, when training reads text for so many steps."""
    return steps * step_tokens(config) // TOKENS_A_NUMBER


def plan_for(config: GPT2Config, budget: int, steps: int, fit_tokens: int) -> Plan:
    """The plan for a subject within `budget` numbers, or as many as text stands behind that `steps` read.

    Raises `CorpusError` where fit text is too short for that.
    """
    budget = min(budget, readable(config, steps))
    needed = TOKENS_A_NUMBER * budget
    if fit_tokens < needed // config.n_positions * config.n_positions:
        raise CorpusError(
            f"{fit_tokens:,} tokens of fit text are too few for sources of {budget:,} numbers; give at least "
            f"{needed:,} tokens (--fit-corpus), or a smaller --size, or fewer steps"
        )
    kinds = max(1, min(config.n_embd, 192, config.vocab_size - 1))  # centred embeddings span no more
    values, rank = min(config.n_embd, 96), min(config.d_head, 16)
    return Plan(kinds=kinds, values=values, late=min(config.n_embd, 64), rank=rank, steps=steps, budget=budget)

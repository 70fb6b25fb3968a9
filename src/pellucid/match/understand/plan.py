"""The sizes of an understanding: how many kinds, values and terms, and what each of their numbers costs."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.base.errors import CorpusError
from pellucid.subject.gpt2 import GPT2Config

STEP_TOKENS = 2048
"""Tokens of fit text that a step of training sees."""
TOKENS_A_NUMBER = 2
"""The least tokens of fit text that must stand behind every number of a program."""
COEFFICIENT = 2.0
"""What a term of a neuron costs, and a neuron that a finding names: a number, and which one it is about."""
TERM = 1.75
"""What a term of a function costs: its number, and its share of the syntax, which counts as well."""
FAR = 2.875
"""What a term costs that names a distance as well: how far back a token stands."""
BEND = 3.0
"""What a bend of a curve costs: its place as well."""
SEEN = 3.75
"""What a term costs that names a head as well."""
PATTERN_SHARE = 0.2
"""Steps by which the patterns of a layer are fitted by themselves, as a share of those of training."""
A_FINDING = 1_500
"""Numbers of the budget for every finding that a layer may have."""
FIT_TOKENS = 50_000
"""Tokens of fit text on which values and findings are regressed."""


@dataclass(frozen=True)
class Plan:
    """`kinds` of tokens, `values` and `findings` a layer, products of `rank` pairs in a head's scores, and `steps`.

    `budget` is how many numbers the sources may hold in all, when training ends.
    """

    kinds: int
    values: int
    findings: int
    rank: int
    steps: int
    budget: int

    @property
    def pattern_steps(self) -> int:
        """Steps by which the patterns of a layer are fitted."""
        return max(8, int(PATTERN_SHARE * self.steps))

    @property
    def dense_until(self) -> int:
        """The step at which pruning begins."""
        return self.steps // 8

    @property
    def pruned_at(self) -> int:
        """The step at which the budget is kept."""
        return self.steps * 13 // 20

    @property
    def levelled_at(self) -> int:
        """The step at which the tokens of a kind are joined into few levels."""
        return self.steps * 4 // 5


def plan_for(config: GPT2Config, budget: int, steps: int, fit_tokens: int) -> Plan:
    """The plan for a subject within `budget` numbers. Raises `CorpusError` where fit text is too short for it."""
    needed = TOKENS_A_NUMBER * budget
    if fit_tokens < needed:
        raise CorpusError(
            f"{fit_tokens:,} tokens of fit text are too few for sources of {budget:,} numbers; give at least "
            f"{needed:,} tokens (--fit-corpus), or a smaller --size"
        )
    most = min(config.n_embd, 64)
    return Plan(
        kinds=most,
        values=most,
        findings=min(most, max(4, budget // A_FINDING)),
        rank=min(config.d_head, 8),
        steps=steps,
        budget=budget,
    )

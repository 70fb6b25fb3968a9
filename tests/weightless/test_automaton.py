"""The fallback: a known automaton is learned from what is said, and printed so that it says the same."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.weightless.automaton import MOST_STATES, learned
from pellucid.weightless.emit import count, program_text
from pellucid.weightless.language import Alphabet
from pellucid.weightless.runner import Runner
from pellucid.weightless.teacher import Read

ALPHABET = Alphabet(("a", "b", "<bos>"), (2,))


def read(rows: int, modulus: int, seed: int) -> Read:
    """Rows of a and b; behind each token may come `b` alone where the count of a is 0 modulo `modulus`, else both."""
    draw = np.random.default_rng(seed)
    ids = np.concatenate([np.full((rows, 1), 2), draw.integers(2, size=(rows, 15))], 1)
    zero = np.cumsum(ids == 0, axis=1) % modulus == 0
    answer = np.stack([~zero, np.ones_like(zero), np.zeros_like(zero)], -1)
    return Read(ids, np.ones(ids.shape, bool), answer, np.ones(ids.shape, bool))


@pytest.mark.parametrize("modulus", [2, 3, 5])
def test_a_counter_is_learned_with_as_many_states_as_it_has(modulus: int) -> None:
    program = learned(read(200, modulus, 0), ALPHABET, "set")
    assert program is not None
    assert program.walk is not None
    assert len(program.walk.says) == modulus
    other = read(50, modulus, 1)
    said = Runner(program).answers(other.ids, other.scored)
    assert (said == other.answer[other.scored]).all()
    text = program_text(program, "")
    assert "from .prelude import follow" in text
    assert count(text) >= 2 * modulus


def test_what_needs_too_many_states_is_not_learned() -> None:
    draw = np.random.default_rng(0)
    noise = read(200, 2, 0)
    noise.answer[..., 0] = draw.random(noise.ids.shape) < 0.5
    assert learned(noise, ALPHABET, "set") is None
    assert noise.ids.size > MOST_STATES


def test_unclear_answers_say_nothing() -> None:
    plain = read(200, 2, 0)
    clear = np.random.default_rng(1).random(plain.ids.shape) < 0.7
    wrong = plain.answer.copy()
    wrong[~clear] = ~wrong[~clear]
    program = learned(Read(plain.ids, plain.scored, wrong, clear), ALPHABET, "set")
    assert program is not None
    assert program.walk is not None
    assert len(program.walk.says) == 2

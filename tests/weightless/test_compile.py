"""Programs drawn at random become models that say what the programs say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pellucid.base.errors import SourceError
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.weightless import generate
from pellucid.weightless.compile import compiled
from pellucid.weightless.generate import BANDS, LONGEST, nothing_idle
from pellucid.weightless.language import Alphabet, Look, Term, WeightlessProgram
from pellucid.weightless.measure import match
from pellucid.weightless.runner import Runner
from pellucid.weightless.task import read_task
from pellucid.weightless.teacher import read as answered
from pellucid.weightless.teacher import record
from pellucid.weightless.tree import DecisionNode

SEEDS = (0, 3, 9, 10)
generated = cache(generate.generated)


def model_of(program: WeightlessProgram, directory: Path) -> Model:
    """The compiled model of a program, loaded from disk."""
    compiled(program, LONGEST).write(directory)
    (directory / "task.json").write_text('{"vocab": ["' + '", "'.join(program.alphabet.texts) + '"]}')
    return Model(load_subject(directory))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_compiled_model_says_what_its_program_says(tmp_path: Path, seed: int) -> None:
    known = generated(seed)
    known.write(tmp_path / "model")
    model = Model(load_subject(tmp_path / "model"))
    for band in BANDS:
        found = match(Runner(known.program), answered(model, known.rows(9, 40, band), known.program.answer))
        assert found.positions.n > 100
        assert found.clear.value == 1.0
        assert (found.positions.value or 0) > 0.99
    assert len(read_task(tmp_path / "model").rows) > 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_what_heads_attend_to_is_what_looks_see(tmp_path: Path, seed: int) -> None:
    known = generated(seed)
    model, row = model_of(known.program, tmp_path), np.array(known.rows(9, 1, "3-12")[0].ids)
    values = Runner(known.program).values(row)
    for look in known.program.looks:
        head = [other.name for other in known.program.looks if other.layer == look.layer].index(look.name)
        pattern = record(model, row[None], [f"L{look.layer:02d}.pattern"])[f"L{look.layer:02d}.pattern"][0, head]
        shares = pattern @ np.eye(len(known.program.alphabet.texts))[row]
        np.testing.assert_allclose(shares, values[look.name].shares, atol=2e-4)


def test_seeds_give_the_same_program_again_and_different_ones_differ() -> None:
    texts = [Runner(generated(seed).program).text for seed in SEEDS]
    assert texts[2] == Runner(generate.generated(SEEDS[2]).program).text
    assert len(set(texts)) == len(texts)


def test_a_look_that_nothing_asks_about_is_idle() -> None:
    known = generated(0)
    rows = known.rows(3, 30, "3-12")
    spare = Look("look_9", 0, (3,), (Term("distance == 1", 9.0),))
    assert nothing_idle(known.program, rows)
    assert not nothing_idle(replace(known.program, looks=(*known.program.looks, spare)), rows)


def test_everything_that_has_no_weights_is_named_at_once() -> None:
    alphabet = Alphabet(("a", "b", "<bos>"), (2,))
    looks = (Look("look_0", 0, (0,), (Term("(query.token == A) * (distance == 1)", 1.0),)),)
    tree = DecisionNode(0, 0, 0.5, DecisionNode(0), DecisionNode(1))
    program = WeightlessProgram(alphabet, "argmax", looks, ("position % 2 == 0",), ("A", "token + 1"), tree)
    with pytest.raises(SourceError, match=r"distance == 1.*position % 2.*token \+ 1"):
        compiled(program, 8)

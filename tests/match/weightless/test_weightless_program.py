"""What is printed is what is meant: looks, handicaps and answers against a plain computation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pellucid.match.weightless.emit import count, lines, program_text
from pellucid.match.weightless.language import Alphabet, Look, Program, Term
from pellucid.match.weightless.runner import Runner
from pellucid.match.weightless.tree import Node

ALPHABET = Alphabet(("a", "b", "7", "<bos>"), (3,))
FIRST = Look("look_0", 0, (0,), (Term("key.token == query.token", 2.0), Term("0.1 * distance", -3.0)))
SECOND = Look("look_1", 1, (0, 1), (Term("key.look_0.on(query.token)", 4.0),), (("back", "distance"),))


def program() -> Program:
    """Two looks and a question about each."""
    asked = ("look_0.share(A) - look_0.share(B)", "look_1.top == token")
    tree = Node(0, 0, 0.25, above=Node(0), below=Node(0, 1, 0.5, above=Node(2), below=Node(1)))
    choices = ("A", "look_0.best(HANDICAP)", "look_1.top")
    return Program(ALPHABET, "argmax", (FIRST, SECOND), asked, choices, tree, {"HANDICAP": (0.0, 0.3, 0.0, -1.0)})


def shares(row: list[int], place: int, score: dict[int, float]) -> np.ndarray:
    """The share of every token by the definition of attention."""
    weights = {key: math.exp(score[key]) for key in range(place + 1)}
    found = np.zeros(4)
    for key, weight in weights.items():
        found[row[key]] += weight / sum(weights.values())
    return found


def test_a_printed_program_computes_what_its_parts_mean() -> None:
    runner = Runner(program())
    draw = np.random.default_rng(0)
    for _ in range(20):
        row = [3, *map(int, draw.integers(3, size=9))]
        values = runner.values(np.array(row))
        first = [shares(row, q, {k: 2.0 * (row[k] == row[q]) - 0.3 * (q - k) for k in range(q + 1)}) for q in range(10)]
        for place in range(10):
            second = shares(row, place, {key: 4.0 * first[key][row[place]] for key in range(place + 1)})
            np.testing.assert_allclose(values["look_0"].shares[place], first[place], atol=1e-12)
            np.testing.assert_allclose(values["look_1"].shares[place], second, atol=1e-12)
            if first[place][0] - first[place][1] > 0.25:
                wanted = 0
            elif second.argmax() == row[place]:
                wanted = int(second.argmax())
            else:
                wanted = int((first[place] + [0.0, 0.3, 0.0, -1.0]).argmax())
            assert runner.answer(values, place) == wanted


def test_what_a_look_saw_can_be_set_and_later_looks_see_it() -> None:
    runner = Runner(program())
    row = np.array([3, 0, 1, 0, 1, 1])
    plain = runner.values(row)
    changed = runner.values(row, {("look_0", 2): plain["look_0"][4]})
    np.testing.assert_array_equal(changed["look_0"].shares[2], plain["look_0"].shares[4])
    np.testing.assert_array_equal(changed["look_0"].shares[3], plain["look_0"].shares[3])
    assert not np.allclose(changed["look_1"].shares[5], plain["look_1"].shares[5])


def test_numbers_are_counted_in_the_printed_text() -> None:
    text = Runner(program()).text
    # A and B; four handicaps; 2, 3 and 0.1 of the first look and 4 of the second; the vocabulary's size in either; the
    # threshold; and one named average: a name of two times 16 bits and its value
    assert count(text) == 2 + 4 + 3 + 1 + 2 + 1 + 3
    assert count(text.replace("0.25", "0.25 + 0.5")) == count(text) + 1
    assert 15 < lines(text) < 40


def test_tokens_get_names_that_are_identifiers_and_differ() -> None:
    names = Alphabet(("a", "A", "+", "7", "<bos>", "def f(): pass", "7"), (4,)).names
    assert len(set(names)) == 7
    assert all(name.isidentifier() for name in names)
    assert names[4] == "BOS"


def test_long_questions_are_printed_over_several_lines() -> None:
    wide = " + ".join(f"{0.1 + at} * look_0.share(A)" for at in range(12)) + " > 0"
    long = replace(program(), questions=(wide, "look_1.top == token"))
    text = program_text(long, "")
    assert max(map(len, text.splitlines())) <= 120
    assert count(text) == count(program_text(long, "a title"))
    row = np.array([3, 0, 1, 0])
    runner = Runner(long)
    assert int(runner.answer(runner.values(row), 3)) in range(4)

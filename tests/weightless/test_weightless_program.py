"""What is printed is what is meant: looks, handicaps and answers against a plain computation."""

from __future__ import annotations

import keyword
import math
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from pellucid.weightless.emit import count, lines, program_text
from pellucid.weightless.emit import files as emitted
from pellucid.weightless.language import Alphabet, Look, Term, WeightlessProgram
from pellucid.weightless.questions import evaluate
from pellucid.weightless.runner import Runner
from pellucid.weightless.tree import DecisionNode, choose

ALPHABET = Alphabet(("a", "b", "7", "<bos>"), (3,))
FIRST = Look("look_0", 0, (0,), (Term("key.token == query.token", 2.0), Term("0.1 * distance", -3.0)))
SECOND = Look("look_1", 1, (0, 1), (Term("key.look_0.on(query.token)", 4.0),), (("back", "distance"),))


def program() -> WeightlessProgram:
    """Two looks and a question about each."""
    asked = ("look_0.share(A) - look_0.share(B)", "look_1.top == token")
    tree = DecisionNode(
        0, 0, 0.25, above=DecisionNode(0), below=DecisionNode(0, 1, 0.5, above=DecisionNode(2), below=DecisionNode(1))
    )
    choices = ("A", "look_0.best(HANDICAP)", "look_1.top")
    return WeightlessProgram(
        ALPHABET, "argmax", (FIRST, SECOND), asked, choices, tree, {"HANDICAP": (0.0, 0.3, 0.0, -1.0)}
    )


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


def test_no_token_takes_a_name_that_means_something_else() -> None:
    own_names = "look_0 LOOKS Handicap_look_0 weight_look_1 after token key scores attend log maximum"
    python = "None none class __name__ __builtins__ _ __"
    alike = "1 \uff11 \u0661 \ufb01x fix FIX_13 a A a_18 \u00b2 \u2460 \u00df ss e\u0301 \u00e9x caf\u00e9 CAF\u00c9"
    texts = (*own_names.split(), *python.split(), *alike.split(), "\ud800", "", "\U0001f917")
    names = Alphabet(texts, ()).names
    assert len({unicodedata.normalize("NFKC", name) for name in names}) == len(texts)
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    own = {"LOOKS", "AFTER", "HANDICAP_LOOK_0", "WEIGHT_LOOK_1", "look_0", "token", "key", "scores", "attend", "log"}
    assert not own & set(names)
    scope: dict[str, object] = {}
    exec("\n".join(f"{name} = {at}" for at, name in enumerate(names)), scope)
    assert [scope[unicodedata.normalize("NFKC", name)] for name in names] == list(range(len(texts)))


def test_a_token_that_is_called_like_an_address_is_no_number_of_the_program() -> None:
    alphabet = Alphabet(("a", "L00", "IN", "<bos>"), (3,))
    named = replace(program(), alphabet=alphabet, choices=("A", "token", "look_1.top"), tables={},
                    questions=("look_0.share(A)", "look_1.top == token"))  # fmt: skip
    noted = named.with_notes({"answer": "Replaces L00.N*.IN IN L00."})
    assert "L00 = 1" not in program_text(noted, "")
    assert count(program_text(noted, "")) == count(program_text(named, ""))


def grown(draw: np.random.Generator, questions: int, lean: float) -> DecisionNode:
    """A tree of `questions` questions; with a `lean` of 1 each is asked where the one before is true."""
    if not questions:
        return DecisionNode(int(draw.integers(4)))
    yes = questions - 1 if draw.random() < lean else int(draw.integers(questions))
    above, below = grown(draw, yes, lean), grown(draw, questions - 1 - yes, lean)
    return DecisionNode(0, int(draw.integers(6)), float(draw.integers(1, 9)) / 10, above, below)


@pytest.mark.parametrize(("questions", "lean"), [(60, 1.0), (60, 0.0), (120, 0.5), (300, 0.1), (255, -1.0)])
def test_programs_of_any_depth_are_printed_and_say_what_their_tree_says(questions: int, lean: float) -> None:
    draw = np.random.default_rng(questions)
    tree = grown(draw, questions, lean) if lean >= 0 else full(draw, 8)
    asked = ("look_0.share(A)", "look_0.share(B)", "token == A", "look_0.peak", "look_0.top == token",
             "(look_0.top > token) & (look_0.top <= B)")  # fmt: skip
    deep = replace(program(), looks=(FIRST,), questions=asked, choices=("A", "B", "N7", "BOS"), tree=tree, tables={})
    runner = Runner(deep)
    files = emitted(deep, runner.text)
    for name, text in files.items():
        assert all(len(line) - len(line.lstrip()) <= 16 for line in text.splitlines()), name
    for _ in range(40):
        row = np.array([3, *map(int, draw.integers(3, size=9))])
        values = runner.values(row)
        here = {"token": values["token"], "look_0": values["look_0"]}
        features = evaluate(asked, ALPHABET, here)
        wanted = choose(tree, features)
        assert [int(runner.answer(values, place)) for place in range(10)] == wanted.tolist()


def full(draw: np.random.Generator, depth: int) -> DecisionNode:
    """A tree in which every way has `depth` questions."""
    if not depth:
        return DecisionNode(int(draw.integers(4)))
    sides = full(draw, depth - 1), full(draw, depth - 1)
    return DecisionNode(0, int(draw.integers(6)), float(draw.integers(1, 9)) / 10, *sides)


def test_a_chain_of_questions_becomes_early_returns() -> None:
    node = DecisionNode(3)
    for at in range(12):
        node = DecisionNode(0, at % 2, 0.5, above=node, below=DecisionNode(at % 3))
    chain = replace(program(), looks=(FIRST,), questions=("look_0.share(A)", "token == B"), tree=node, tables={},
                    choices=("A", "B", "N7", "BOS"))  # fmt: skip
    text = program_text(chain, "")
    assert text.count("def ") == 2
    assert max(len(line) - len(line.lstrip()) for line in text.partition("def answer(")[2].splitlines()) == 8
    assert "    if not look_0.share(A) > 0.5:\n        return" in text
    assert "    if token != B:\n        return" in text


def test_long_questions_are_printed_over_several_lines() -> None:
    wide = " + ".join(f"{0.1 + at} * look_0.share(A)" for at in range(12)) + " > 0"
    long = replace(program(), questions=(wide, "look_1.top == token"))
    text = program_text(long.with_notes({"": "\npartial: " + "look_0 looks there; " * 20}), "")
    assert max(map(len, text.splitlines())) <= 120
    assert count(text) == count(program_text(long, "a title"))
    row = np.array([3, 0, 1, 0])
    runner = Runner(long)
    assert int(runner.answer(runner.values(row), 3)) in range(4)

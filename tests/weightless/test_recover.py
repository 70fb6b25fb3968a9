"""How the benchmark of known programs compares what was found with what was there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pellucid.weightless.language import Alphabet

TEXT = """
A = 0


def look_0(query, key, values):
    distance = query.position - key.position
    scores = (
        - 0.5 * (key.token == A)
        + 6.5 * 0.1 * distance
        - 12 * (distance == 1)
    )
    return attend(scores, values, 3, {})


def look_1(query, key, values):
    scores = 0
    return attend(scores, values, 3, {})


def answer(token, position, look_0, look_1):
    if look_0.top == A:
        return answer_1(look_0)
    return look_0.top


def answer_1(look_0):
    return look_0.top


LOOKS = {"look_0": look_0, "look_1": look_1}
"""


@pytest.fixture(scope="module")
def recover() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "recover.py"
    spec = importlib.util.spec_from_file_location("recover", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recover"] = module
    spec.loader.exec_module(module)
    return module


def test_selectors_come_strongest_first_with_their_signs(recover: ModuleType) -> None:
    assert recover.selectors(TEXT) == [["- distance == 1", "- key.position", "- key.token == A"], []]


def test_a_program_that_fails_is_a_row(recover: ModuleType) -> None:
    def failing() -> None:
        raise ValueError("value|cannot be\nconverted")

    entry = recover.tried("compiled-3", failing)
    assert recover.row(entry) == (
        r"| compiled-3 | error: ValueError: value\|cannot be converted |  | no | – | – | 0 | 0.0 |"
    )
    assert recover.summary([entry]) == "0 of 1 functionally, 0 decompiled"


def test_structure_is_the_same_selectors_in_the_same_order(recover: ModuleType) -> None:
    def recovery(found: list[list[str]]) -> object:
        return recover.Recovery(
            "x", "compiled", "partial", {"a": 0.995, "b": 0.1}, [["+ p"], ["+ q", "- r"]], found, 3, 1.0
        )

    same, turned, partly = (recovery(x) for x in ([["+ p"], ["+ q", "- r"]], [["+ q"], ["+ p"]], [["+ p"], ["+ q"]]))
    assert (same.structural, same.leading, same.functional) == (True, True, True)  # type: ignore[attr-defined]
    assert (turned.structural, turned.leading) == (False, False)  # type: ignore[attr-defined]
    assert (partly.structural, partly.leading) == (False, True)  # type: ignore[attr-defined]


def test_a_program_speaks_at_every_place(recover: ModuleType) -> None:
    said = recover.speaker(TEXT, Alphabet(("a", "b", "<bos>"), (2,)))
    assert recover.as_set(said(np.array([2, 1, 0, 0]), 3)) == {2}
    assert recover.as_set((1, 2)) == {1, 2}
    adds = recover.speaker("def answer(a, b):\n    return (a + b) % 7\n", Alphabet(("0", "1", "2"), ()))
    assert adds(np.array([5, 4, 7]), 2) == 2

"""Answers from outside are data: taken in the shape that was asked for, bounded, and never followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pellucid.base.errors import PellucidError
from pellucid.explain.answers import explanation_in, numbers_in, read_lines
from pellucid.explain.kept import LONGEST


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('{"explanation": "Fires on names."}', "Fires on names."),
        ('Sure!\n```json\n{"explanation": "Fires\\n on  names."}\n```', "Fires on names."),
        ('{"explanation": "\\u001b[31mred\\u202e <script>"}', "[31mred <script>"),
        ('{"explanation": ""}', None),
        ('{"explanation": "  \\n "}', None),
        ('{"explanation": 3}', None),
        ('{"explanation": "x", "and": "y"}', None),
        ("Fires on names.", None),
        ("", None),
        ("}{", None),
        ("[" * 100_000, None),
        ('{"explanation": ' + "[" * 15_000 + "]" * 15_000 + "}", None),
    ],
)
def test_an_explanation_is_one_line_or_nothing(answer: str, text: str | None) -> None:
    assert explanation_in(answer) == text


def test_a_long_explanation_is_cut() -> None:
    assert explanation_in(json.dumps({"explanation": "a" * 5000})) == "a" * LONGEST
    assert explanation_in(json.dumps({"explanation": "a" * 50_000})) is None


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ('{"numbers": [1, 3]}', {1, 3}),
        ('{"numbers": []}', set()),
        ('{"numbers": [1, 1]}', {1}),
        ('{"numbers": [0]}', None),
        ('{"numbers": [6]}', None),
        ('{"numbers": ["1"]}', None),
        ('{"numbers": [1.0]}', None),
        ('{"numbers": 1}', None),
        ("1, 3", None),
    ],
)
def test_numbers_are_those_that_were_shown(answer: str, numbers: set[int] | None) -> None:
    assert numbers_in(answer, 5) == numbers


def test_lines_are_of_batches_or_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    choice = {"message": {"role": "assistant", "content": "yes"}, "index": 0}
    lines = [
        {"custom_id": "a", "response": {"status_code": 200, "body": {"choices": [choice], "usage": {}}}},
        {"custom_id": "b", "content": '{"numbers": [1]}'},
        {"custom_id": "c", "content": {"numbers": [2]}},
        {"custom_id": "d", "response": {"status_code": 500, "body": {"choices": []}}, "error": "busy"},
        {"custom_id": "a", "content": "yes"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    assert read_lines(path) == {"a": "yes", "b": '{"numbers": [1]}', "c": '{"numbers": [2]}', "d": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no answers"),
        ('{"custom_id": "a", "content": "x"}\n{"custom_id": "a", "con', r":2: "),
        ('{"custom_id": "a", "content": "x"}\n{"custom_id": "a", "content": "y"}', r":2: 'a' is answered otherwise"),
        ('{"content": "x"}', r":1: custom_id"),
        ("[1, 2]", r":1: "),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PellucidError, match=said):
        read_lines(path)

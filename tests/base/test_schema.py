"""What does not fit its shape is said in one line: where, what was found, what was expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from pellucid.base.errors import ProjectError
from pellucid.base.schema import CLOSED, OPEN, Count, fitting, parsed, plain_json, read_json


@dataclass(frozen=True)
class Leaf:
    __pydantic_config__ = OPEN
    name: str
    size: float = 0.0


@dataclass(frozen=True)
class Tree:
    __pydantic_config__ = CLOSED
    kind: Literal["oak", "elm"]
    leaves: tuple[Leaf, ...] = ()
    counts: dict[str, Count] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.leaves) > 2:
            raise ValueError("no tree has more than two leaves")


def test_what_fits_is_given_in_its_shape() -> None:
    text = '{"kind": "oak", "leaves": [{"name": "é", "size": 2, "age": 1}], "counts": {"a": 3}}'
    assert parsed(Tree, text, "tree.json") == Tree("oak", (Leaf("é", 2.0),), {"a": 3})
    assert fitting(Tree, {"kind": "elm"}, "tree.toml") == Tree("elm")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ("[" * 100_000, "not JSON: recursion limit exceeded at line 1 column 20"),
        ('"' + "9" * 5000, "not JSON: EOF while parsing a string at line 1 column 5001"),
        (b'{"kind": "\xff"}', "not JSON: invalid unicode code point at line 1 column 1"),
        ('{"kind": "\ud800"}', "expected a valid string, unable to parse raw data as a unicode string"),
        ("[]", "it is [], expected an object"),
        ("{}", "kind is missing"),
        ('{"kind": "ash"}', "kind is 'ash', expected 'oak' or 'elm'"),
        ('{"kind": "oak", "age": 3}', "age is no entry that is known here"),
        ('{"kind": "oak", "leaves": [{"name": 5}]}', "leaves[0].name is 5, expected a valid string"),
        (
            '{"kind": "oak", "leaves": [{"name": "a", "size": 1e999}]}',
            "leaves[0].size is inf, expected a finite number",
        ),
        ('{"kind": "oak", "counts": {"a": 1.0}}', "counts.a is 1.0, expected a valid integer"),
        ('{"kind": "oak", "counts": {"a": -1}}', "counts.a is -1, expected greater than or equal to 0"),
        (f'{{"kind": "oak", "counts": {{"a": 1{"0" * 30}}}}}', "less than or equal to 9007199254740992"),
        ('{"kind": 1, "leaves": 2}', "kind is 1, expected 'oak' or 'elm' (and 1 more)"),
        ('{"kind": "oak", "leaves": [{"name": ""}, {"name": ""}, {"name": ""}]}', "no tree has more than two leaves"),
    ],
)
def test_what_does_not_fit_is_one_line(text: str | bytes, said: str) -> None:
    with pytest.raises(ProjectError) as raised:
        parsed(Tree, text, "tree.json", ProjectError)
    assert str(raised.value).startswith("tree.json: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_names_from_strangers_are_escaped_and_cut() -> None:
    with pytest.raises(ProjectError) as raised:
        parsed(dict[str, int], '{"\\u001b[31m' + "a" * 500 + '": "\\u001b[2J' + "b" * 500 + '"}', "x", ProjectError)
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_plain_json_has_finite_numbers_alone() -> None:
    assert plain_json('{"a": [1, 2.5, null]}', "x") == {"a": [1, 2.5, None]}
    for text in ("NaN", "[-Infinity]", "1e999", "[" * 100_000, "{"):
        with pytest.raises(ProjectError, match="x: not JSON: "):
            plain_json(text, "x", ProjectError)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="nowhere is not there"):
        read_json(Tree, tmp_path / "nowhere", ProjectError)
    with pytest.raises(ProjectError, match="is a folder, expected a regular file"):
        read_json(Tree, tmp_path, ProjectError)

"""Phantoms, lines that are looked up, and ties that hold, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid.accounts.language import Said, Table
from pellucid.accounts.tallies import LineCounts, holds, tables_told, ties_told

FOOD = Table(
    "food.tsv",
    {"Ada": ("Ada", "soup", "yes"), "Tom": ("Tom", "rice", "no"), "Max": ("Max", "fish", "otherwise")},
    ("key", "answer", "told"),
)
PLAIN = Table("plain.tsv", {"a": ("a", "b")})


def test_lines_are_counted_where_they_are_looked_up() -> None:
    lines = LineCounts(torch.tensor([[5, 6]]))
    lines.hear(0, 0, Said("soup", 5, 0, 0, lines=(("food.tsv", "Ada"),)))
    lines.hear(0, 1, Said("soup", 5, 0, 0, lines=(("food.tsv", "Ada"), ("plain.tsv", "a"))))
    assert lines.counted == {"food.tsv": {"Ada": [2, 1]}, "plain.tsv": {"a": [1, 0]}}


def test_phantoms_are_a_share_of_the_lines_that_say_whether_they_are_told() -> None:
    told = tables_told({"food.tsv": FOOD, "plain.tsv": PLAIN}, {"food.tsv": {"Ada": [3, 3], "Tom": [1, 0]}})
    assert (told["lines"], told["flagged"], told["otherwise"]) == (4, 3, 1)
    assert told["phantoms"]["value"] == pytest.approx(1 / 3)
    assert told["looked_up"]["value"] == pytest.approx(1 / 4)
    nothing = tables_told({"plain.tsv": PLAIN}, {})
    assert (nothing["lines"], nothing["flagged"], nothing["phantoms"]["value"]) == (1, 0, None)


def tie(agreement: float | None, random: float | None, name: str | None = "L00.H01 @ here") -> dict[str, Any]:
    return {"tie": name, "agreement": {"value": agreement}, "random": {"value": random}}


def test_a_tie_holds_if_it_agrees_often_and_more_than_random_sets() -> None:
    assert holds(tie(0.96, 0.7))
    assert not holds(tie(0.94, 0.1))
    assert not holds(tie(0.96, 0.8))
    assert not holds(tie(0.96, None))
    assert not holds(tie(None, None, None))
    told = {"a": {"measured": tie(0.99, 0.0)}, "b": {"measured": tie(0.5, 0.0)}, "c": {"measured": None}}
    assert ties_told(told) == {"variables": 3, "measured": 2, "hold": 1}

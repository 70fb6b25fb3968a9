"""Conditions on tokens hold where the same is asked, and nowhere else."""

from __future__ import annotations

import torch

from pellucid.rewrite.places import BACK, AskedAt, conditions, holds

IS, IT, OF, WHO, MOTHER, SISTER, CALLED, ASK = 1, 2, 3, 4, 5, 6, 7, 8
NAMES = range(20, 40)


def _asked(rows: list[list[int]]) -> AskedAt:
    """Places with these tokens before them, the last one first."""
    before = torch.full((len(rows), BACK), -1)
    for at, row in enumerate(rows):
        before[at, : len(row)] = torch.tensor(row)
    nothing = torch.zeros(1, 1)
    return AskedAt(0, 0, nothing, nothing.expand(len(rows), 1), nothing[0], before, torch.zeros(len(rows), 3).long())


def _rows(kin: int) -> list[list[int]]:
    """A relation asked in three wordings: "NAME … KIN called", "the KIN of NAME is", "who KIN of NAME it is"."""
    called = [[CALLED, kin, name] for name in NAMES]
    of = [[IS, name, OF, kin] for name in NAMES]
    who = [[IS, IT, name, OF, kin, WHO] for name in NAMES]
    return called + of + who


def test_all_wordings_are_covered_and_nothing_else() -> None:
    asked = _asked(_rows(MOTHER) + _rows(SISTER))
    same = torch.arange(len(asked.before)) < len(_rows(MOTHER))
    found = conditions(asked, same, [CALLED, MOTHER, 20])
    held = torch.stack([holds(asked.before, condition) for condition in found]).any(0)
    assert torch.equal(held, same)
    assert max(len(condition) for condition in found) <= 2  # nothing longer than it takes
    assert not any(token in NAMES for condition in found for _, token in condition)


def test_three_tokens_where_two_do_not_tell() -> None:
    # "mother" four before " is" is asked of somebody only behind "it", and stands there without a question too
    others = [[IS, ASK, name, OF, MOTHER] for name in NAMES] + [[IS, IT, name, OF, SISTER] for name in NAMES]
    own = [[IS, IT, name, OF, MOTHER] for name in NAMES]
    asked = _asked(own + others)
    same = torch.arange(len(asked.before)) < len(own)
    (found,) = conditions(asked, same, own[0])
    assert sorted(found) == [(0, IS), (1, IT), (4, MOTHER)]


def test_a_wording_seen_once_is_known_by_what_tells_elsewhere() -> None:
    once = [IS, IT, NAMES[3], OF, MOTHER, WHO]
    rows = [*_rows(MOTHER)[:40], once, *_rows(SISTER)]
    asked = _asked(rows)
    same = torch.arange(len(rows)) < 41
    found = conditions(asked, same, [CALLED, MOTHER, 20])
    unseen = _asked([[IS, IT, 60, OF, MOTHER, WHO], [IS, IT, 60, OF, SISTER, WHO]]).before
    held = torch.stack([holds(unseen, condition) for condition in found]).any(0)
    assert held.tolist() == [True, False]


def test_a_prompt_like_no_other_is_its_own_condition() -> None:
    asked = _asked(_rows(MOTHER))
    none = torch.zeros(len(asked.before), dtype=torch.bool)
    assert conditions(asked, none, [9, 10]) == [((0, 9), (1, 10))]

"""The places that a report shows of a part are its largest, and none is like another."""

from __future__ import annotations

import torch

from pellucid.forms.worst_places import WORST, worst_places


def test_no_two_places_of_a_part_end_in_the_same_two_tokens() -> None:
    rows = torch.tensor([[5, 1, 2, 3], [6, 1, 2, 3], [7, 1, 2, 9], [4, 4, 8, 8], [1, 2, 1, 2], [3, 3, 3, 3]])
    first = torch.zeros(6, 4)
    first[:, 2] = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.3])  # 1 2 three times, then 4 8, 2 1 and 3 3
    other = torch.zeros(6, 4)
    other[4, 3], other[3, 0] = 1.0, 0.5
    found = worst_places(torch.stack([first, other], 2), rows)
    assert found[0] == [(0, 2), (5, 2), (3, 2)]
    assert found[1][:2] == [(4, 3), (3, 0)]
    assert all(len(places) == WORST for places in found)


def test_a_part_that_acts_in_one_way_alone_has_one_place() -> None:
    rows = torch.tensor([[1, 2, 0], [1, 2, 0]])
    difference = torch.zeros(2, 3, 1)
    difference[:, 1] = 1.0
    assert worst_places(difference, rows) == [[(0, 1)]]

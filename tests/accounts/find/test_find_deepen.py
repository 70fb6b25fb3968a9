"""Labels that are no tokens are of no class, however far below 0 they are."""

from __future__ import annotations

import numpy as np

from pellucid.accounts.find.deepen import slots_of
from pellucid.accounts.find.stream import NONE


def test_what_is_no_token_is_of_no_class() -> None:
    slots = np.array([4, NONE, 2])
    said = np.array([0, 2, -1, -326, 1])
    assert slots_of(slots, said).tolist() == [4, 2, NONE, NONE, NONE]

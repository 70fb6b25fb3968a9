"""A quick run does no more of anything than a usual one, and says that it is quick."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from pellucid.base.effort import Effort


def test_a_quick_run_does_no_more_of_anything() -> None:
    usual, quick = Effort.usual(), Effort.quick()
    for limit in fields(Effort):
        if limit.name != "is_quick":
            most, less = (
                value if value is not None else math.inf for value in (getattr(e, limit.name) for e in (usual, quick))
            )
            assert 0 < less <= most, limit.name
    assert (usual.is_quick, quick.is_quick) == (False, True)
    assert (usual.contexts, quick.contexts) == (5_000, 500)


def test_an_option_says_which() -> None:
    assert Effort.of(True) is Effort.quick()
    assert Effort.of(False) is Effort.usual()
    assert replace(Effort.quick(), contexts=24).contexts == 24

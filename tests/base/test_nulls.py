"""No JSON has NaN in it."""

from __future__ import annotations

import json
import math

from pellucid.base.nulls import nulled
from pellucid.base.terminal import json_text


def test_what_is_no_number_is_null_at_any_depth() -> None:
    data = {"a": [1.5, math.nan, {"b": (math.inf, -math.inf, "nan", None, True, 3)}], "c": -0.0}
    expected = {"a": [1.5, None, {"b": [None, None, "nan", None, True, 3]}], "c": -0.0}
    assert nulled(data) == expected
    assert json.loads(json_text(data)) == expected

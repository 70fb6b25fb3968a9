"""Data for JSON, which has no numbers that are not finite: what was not measured is null."""

from __future__ import annotations

import math
from typing import Any


def nulled(data: Any) -> Any:
    """`data` with None in place of every NaN and infinite number, at any depth."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: nulled(value) for key, value in data.items()}
    return [nulled(value) for value in data] if isinstance(data, list | tuple) else data

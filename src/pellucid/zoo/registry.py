"""What is in the zoo. An entry is a folder `NAME/model/` here in Hugging Face layout, with a `card.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError, closest

_ZOO = Path(__file__).parent


def names() -> list[str]:
    """The names of all subjects that ship with the package."""
    return sorted(config.parents[1].name for config in _ZOO.glob("*/model/config.json"))


def path(name: str) -> Path:
    """The directory of subject `name`, in Hugging Face layout."""
    known = names()
    if name not in known:
        raise PellucidError(f"zoo:{name} is not in the zoo{closest(name, known)} (it has: {', '.join(known)})")
    return _ZOO / name / "model"


def card(name: str) -> dict[str, Any]:
    """The model card of subject `name`: how it was trained and what it knows."""
    found: dict[str, Any] = json.loads((path(name) / "card.json").read_text(encoding="utf-8"))
    return found

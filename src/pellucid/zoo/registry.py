"""What is in the zoo. An entry is a folder `NAME/model/` here in Hugging Face layout, with a `card.json`.

Another model of the same language, `NAME/VARIANT/`, is called `NAME-VARIANT`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError, closest

_ZOO = Path(__file__).parent


def names() -> list[str]:
    """The names of all subjects that ship with the package."""
    return sorted(_paths())


def path(name: str) -> Path:
    """The directory of subject `name`, in Hugging Face layout."""
    known = _paths()
    if name not in known:
        raise PellucidError(
            f"zoo:{name} is not in the zoo{closest(name, sorted(known))} (it has: {', '.join(sorted(known))})"
        )
    return known[name]


def _paths() -> dict[str, Path]:
    """The directories of all subjects, by name."""
    folders = [config.parent for config in _ZOO.glob("*/*/config.json")]
    return {_name(folder.parent.name, folder.name): folder for folder in folders}


def _name(language: str, variant: str) -> str:
    return language if variant == "model" else f"{language}-{variant}"


def card(name: str) -> dict[str, Any]:
    """The model card of subject `name`: how it was trained and what it knows."""
    found: dict[str, Any] = json.loads((path(name) / "card.json").read_text(encoding="utf-8"))
    return found

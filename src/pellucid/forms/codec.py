"""Forms as JSON, kept in the evidence store between the stages of a run: each in the shape that its class names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.schema import parsed
from pellucid.forms.form import Kept, Written
from pellucid.forms.known import KINDS


def dump_forms(forms: Mapping[Address, Written]) -> str:
    """`forms` as JSON text."""
    return json.dumps({str(address): vars(form.kept()) for address, form in forms.items()})


def load_forms(text: str, place: str = "forms") -> dict[Address, Written]:
    """The forms in JSON text that `dump_forms` made. Raises `ProjectError` naming `place` for any other text."""
    shape: Any = reduce(or_, [kind.kept_as for kind in KINDS.values() if kind.kept_as])
    kept: dict[str, Kept] = parsed(dict[str, shape], text, place, ProjectError)
    return {(address := Address.parse(key)): form.form(address, place) for key, form in kept.items()}

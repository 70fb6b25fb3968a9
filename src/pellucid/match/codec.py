"""Forms as JSON, to be kept in the evidence store between the stages of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pellucid.base.address import Address
from pellucid.match.forms import AfterSame, Distance, Fires, First, Looks, Offset, SameToken, Term

_TERMS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Offset, First, SameToken, AfterSame, Distance)}


def dump_forms(forms: Mapping[Address, Looks | Fires]) -> str:
    """`forms` as JSON text."""
    return json.dumps({str(address): _encode(form) for address, form in forms.items()})


def load_forms(text: str) -> dict[Address, Looks | Fires]:
    """The forms in JSON text that `dump_forms` made."""
    return {(address := Address.parse(key)): _decode(address, value) for key, value in json.loads(text).items()}


def _encode(form: Looks | Fires) -> dict[str, Any]:
    if isinstance(form, Looks):
        return {"terms": [[type(term).__name__, _arguments(term), weight] for term, weight in form.terms]}
    return {"bias": form.bias, "sets": [[which, list(ids), weight] for which, ids, weight in form.sets]}


def _arguments(term: Term) -> list[int]:
    return [getattr(term, field.name) for field in fields(term)]


def _decode(address: Address, value: dict[str, Any]) -> Looks | Fires:
    if "terms" in value:
        return Looks(address, tuple((_TERMS[name](*arguments), weight) for name, arguments, weight in value["terms"]))
    return Fires(address, value["bias"], tuple((which, tuple(ids), weight) for which, ids, weight in value["sets"]))

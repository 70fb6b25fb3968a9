"""Forms as JSON, to be kept in the evidence store between the stages of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.schema import CLOSED, Count, parsed, shown
from pellucid.forms.forms import AfterSame, Distance, Fires, First, Looks, Offset, SameToken, Term, Which

_TERMS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Offset, First, SameToken, AfterSame, Distance)}


def dump_forms(forms: Mapping[Address, Looks | Fires]) -> str:
    """`forms` as JSON text."""
    return json.dumps({str(address): _encode(form) for address, form in forms.items()})


@dataclass(frozen=True)
class _Looks:
    """`Looks` as it is kept: terms by name, what they take, and their weights."""

    __pydantic_config__ = CLOSED
    terms: tuple[tuple[str, tuple[Count, ...], float], ...]


@dataclass(frozen=True)
class _Fires:
    """`Fires` as it is kept."""

    __pydantic_config__ = CLOSED
    bias: float
    sets: tuple[tuple[Which, tuple[Count, ...], float], ...]


def load_forms(text: str, place: str = "forms") -> dict[Address, Looks | Fires]:
    """The forms in JSON text that `dump_forms` made. Raises `ProjectError` naming `place` for any other text."""
    kept: dict[str, _Looks | _Fires] = parsed(dict[str, _Looks | _Fires], text, place, ProjectError)
    return {(address := Address.parse(key)): _decode(address, form, place) for key, form in kept.items()}


def _encode(form: Looks | Fires) -> dict[str, Any]:
    if isinstance(form, Looks):
        return {"terms": [[type(term).__name__, _arguments(term), weight] for term, weight in form.terms]}
    return {"bias": form.bias, "sets": [[which, list(ids), weight] for which, ids, weight in form.sets]}


def _arguments(term: Term) -> list[int]:
    return [getattr(term, field.name) for field in fields(term)]


def _decode(address: Address, kept: _Looks | _Fires, place: str) -> Looks | Fires:
    if isinstance(kept, _Fires):
        return Fires(address, kept.bias, kept.sets)
    return Looks(address, tuple((_term(name, taken, place), weight) for name, taken, weight in kept.terms))


def _term(name: str, arguments: tuple[int, ...], place: str) -> Term:
    kind = _TERMS.get(name)
    if kind is None or len(fields(kind)) != len(arguments):
        raise ProjectError(f"{place}: there is no term {shown(name)} of {len(arguments)} numbers")
    term: Term = kind(*arguments)
    return term

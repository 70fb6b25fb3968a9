"""Rotary positions as configs ask for them: under `rope_parameters`, or `rope_theta` with `rope_scaling`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pellucid.base.errors import SubjectError, closest
from pellucid.family.rotary import Linear, Llama3, Rotary, Yarn
from pellucid.family.settings import ConfigSettings

KINDS = ("default", "linear", "llama3", "yarn")
_KNOWN = {
    "default": {"rope_type", "type", "rope_theta", "partial_rotary_factor"},
    "linear": {"factor"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": {
        *("factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow"),
        *("mscale", "mscale_all_dim", "truncate"),
    },
}


def rotary(settings: ConfigSettings, dim: int, *, base: float = 10000.0, share: float = 1.0) -> Rotary:
    """The rotary positions of heads of `dim` coordinates; `base` and the turned `share` where nothing says them.

    Raises `SubjectError` for a kind of positions that is not understood.
    """
    fields = dict(settings.table("rope_scaling") or settings.table("rope_parameters"))
    fields.setdefault("rope_theta", settings.get("rope_theta", base))
    fields.setdefault("partial_rotary_factor", settings.get("partial_rotary_factor", share))
    if (trained := settings.get("original_max_position_embeddings")) is not None:
        fields["original_max_position_embeddings"] = trained
    return rotary_of(settings, "rope_parameters", fields, dim)


def rotary_of(settings: ConfigSettings, key: str, fields: Mapping[str, Any], dim: int) -> Rotary:
    """The rotary positions that the object `fields` under `key` describes."""
    kind = fields.get("rope_type", fields.get("type", "default"))
    if kind not in KINDS:
        near = closest(str(kind), list(KINDS)) or f"; supported are {', '.join(KINDS)}"
        raise SubjectError(f"{settings.path}: {key} asks for rope_type {kind!r:.60}, which is not supported{near}")
    known = _KNOWN["default"] | _KNOWN[kind]
    foreign = [name for name, value in fields.items() if name not in known and value is not None]
    if foreign and kind != "default":
        raise SubjectError(f"{settings.path}: {key} of type {kind} has {', '.join(foreign)}, which is not understood")
    read = settings.inner(key, fields)
    dims = int(dim * read.positive("partial_rotary_factor", 1.0))
    if not 1 <= dims <= dim:
        raise SubjectError(f"{read.path}: partial_rotary_factor turns {dims} of {dim} coordinates")
    trained = read.size("original_max_position_embeddings", settings.size("max_position_embeddings"))
    return Rotary(read.positive("rope_theta", 10000.0), dims, _stretch(kind, read, settings, trained))


def _stretch(kind: str, read: ConfigSettings, settings: ConfigSettings, trained: int) -> Linear | Llama3 | Yarn | None:
    if kind == "linear":
        return Linear(read.positive("factor"))
    if kind == "llama3":
        low, high = read.positive("low_freq_factor"), read.positive("high_freq_factor")
        return Llama3(read.positive("factor"), low, high, trained)
    if kind == "yarn":
        factor = read.positive("factor", settings.size("max_position_embeddings") / trained)
        fast, slow = read.positive("beta_fast", 32.0), read.positive("beta_slow", 1.0)
        return Yarn(factor, trained, _amplitude(read, factor), fast, slow, read.switch("truncate", True))
    return None


def _amplitude(read: ConfigSettings, factor: float) -> float:
    """What YaRN multiplies cosines and sines by."""
    if read.get("attention_factor") is not None:
        return read.positive("attention_factor")
    first, second = read.get("mscale"), read.get("mscale_all_dim")
    if first and second:
        return _scale(factor, read.positive("mscale")) / _scale(factor, read.positive("mscale_all_dim"))
    return _scale(factor, 1.0)


def _scale(factor: float, share: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * share * math.log(factor) + 1.0

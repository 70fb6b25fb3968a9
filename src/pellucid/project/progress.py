"""The three progress numbers, computed from forms, residuals, effects and evidence; unmeasured is None."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pellucid.base.address import Address
from pellucid.family.partition import PartForm, Residual


@dataclass(frozen=True)
class State:
    """Where one address stands: `form` is what runs, `described` whether it has a source that does not.

    `effect` is its KL increase when its mean stands in for it, None if unmeasured.
    """

    address: Address
    form: PartForm
    residual: Residual
    parameters: int
    effect: float | None = None
    score: float | None = None
    passed: bool = False
    described: bool = False

    @property
    def shown(self) -> str:
        """What runs; `described` for a part that runs raw and has a source."""
        return "described" if self.described and self.form == "raw" else self.form


def residual_free(states: list[State], gate_passed: bool | None) -> dict[str, dict[str, float | None]]:
    """Shares of the subject whose residual is dropped, under the gate: None where some are and it did not pass.

    `lifted` and `source` apart: by parameters of the whole subject, by effect of QK and IN, and (`data_effect`) by that
    of OV and OUT. `code` and `data` apart, each by its own parameters and effects.
    """
    parameters = sum(state.parameters for state in states)
    dropped = [state for state in states if state.residual == "dropped"]
    counts = gate_passed or not dropped

    def by_parameters(chosen: list[State], total: int) -> float | None:
        return sum(state.parameters for state in chosen) / total if counts and total else None

    def by_effect(chosen: list[State], among: list[State]) -> float | None:
        total = effect_of(among)
        return effect_of(chosen) / total if counts and total else None

    code = [state for state in states if state.address.is_code]
    data = [state for state in states if not state.address.is_code]
    shares: dict[str, dict[str, float | None]] = {}
    for form in ("lifted", "source"):
        chosen = [state for state in dropped if state.form == form]
        shares[form] = {"parameters": by_parameters(chosen, parameters)}
        for name, side, is_code in (("effect", code, True), ("data_effect", data, False)):
            shares[form][name] = by_effect([state for state in chosen if state.address.is_code is is_code], side)
    for name, whole in (("code", code), ("data", data)):
        chosen = [state for state in whole if state.residual == "dropped"]
        total = sum(state.parameters for state in whole)
        shares[name] = {"parameters": by_parameters(chosen, total), "effect": by_effect(chosen, whole)}
    return shares


def effect_of(states: Iterable[State]) -> float:
    """The summed effects of parts."""
    return math.fsum(state.effect or 0.0 for state in states)


DESCRIBED = ("QK", "OV", "IN", "OUT")
"""The kinds of parts that descriptions are counted for."""


def evidence_share(states: list[State]) -> dict[str, Any]:
    """The share of heads and neurons, by effect, whose sentence passed its test, and the mean score of those tested.

    Of QK, OV, IN and OUT together, and under `kinds` of each by itself.
    """
    by_kind = {kind: [state for state in states if state.address.kind == kind] for kind in DESCRIBED}
    kinds = {kind: _described(found) for kind, found in by_kind.items()}
    return _described([state for found in by_kind.values() for state in found]) | {"kinds": kinds}


def _described(states: list[State]) -> dict[str, Any]:
    tested, effects = [state for state in states if state.score is not None], effect_of(states)
    return {
        "share": effect_of(state for state in tested if state.passed) / effects if effects else None,
        "mean_score": sum(state.score or 0.0 for state in tested) / len(tested) if tested else None,
        "n": len(tested),
    }


def parts_by_form(states: list[State]) -> dict[str, int]:
    """How many parts run `raw`, `lifted` and from their `source`; and how many are `described` by one that does not."""
    forms = Counter(state.form for state in states)
    return {form: forms[form] for form in get_args(PartForm)} | {"described": sum(state.described for state in states)}


def progress(
    states: list[State],
    gate_passed: bool | None,
    source_only: Mapping[str, Any] | None,
    calibration: Mapping[str, float | int | None] | None,
) -> dict[str, Any]:
    """All three numbers, none of which may stand alone, with the calibration of the effects behind them."""
    return {
        "parts": parts_by_form(states),
        "residual_free": residual_free(states, gate_passed),
        "source_only": dict(source_only["overall"]) if source_only else {},
        "evidence": evidence_share(states),
        "effect_calibration": dict(calibration) if calibration else {"correlation": None, "n": 0},
    }

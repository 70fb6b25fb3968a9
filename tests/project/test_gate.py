"""The gate is computed from upper bounds, from every domain, and only from enough contexts."""

from __future__ import annotations

from typing import Any

import pytest

from pellucid.base.effort import Effort
from pellucid.project.gate import judge
from pellucid.project.manifest import Gate


def figures(
    value: float, high: float, n: int = 5000, domain: float | None = None, low: float | None = 0.0
) -> dict[str, dict[str, Any]]:
    """Both word error rates with the same figures, overall and in one domain, there with `low`."""
    entry = {"value": value, "low": 0.0, "high": high, "n": n}
    local = entry | {"value": value if domain is None else domain, "low": low}
    metrics = ("wer_next", "wer_16")
    return {"overall": dict.fromkeys(metrics, entry), "domains": {"a": dict.fromkeys(metrics, local)}}


@pytest.mark.parametrize(
    ("full", "quick", "passed"),
    [
        (figures(0.5, 0.9), False, True),
        (figures(0.5, 1.01), False, False),
        (figures(0.5, 0.9, domain=2.01), False, False),
        (figures(0.5, 0.9, n=4999), False, None),
        (figures(0.5, 0.9), True, None),
        (figures(3.0, 4.0, n=500), True, False),
        (figures(0.0, 14.0, n=21), True, None),
        (figures(0.5, 0.9, n=500, domain=2.7, low=0.4), True, None),  # two words of 73
        (figures(0.5, 0.9, n=500, domain=7.0, low=2.1), True, False),
        (figures(0.5, 0.9, n=500, domain=100.0, low=None), True, None),  # a single context
    ],
)
def test_judgement(full: dict[str, dict[str, Any]], quick: bool, passed: bool | None) -> None:
    verdict = judge(full, Gate(), Effort.of(quick))
    assert verdict["passed"] is passed
    assert bool(verdict["reasons"]) is (passed is not True)


def test_next_words_are_judged_by_themselves() -> None:
    full = figures(0.5, 0.9)
    full["overall"]["wer_16"] = full["overall"]["wer_16"] | {"value": 1.5, "high": 1.8}
    verdict = judge(full, Gate(), Effort.usual())
    assert (verdict["passed"], verdict["next_word"]) == (False, True)
    full["overall"]["wer_next"] = full["overall"]["wer_next"] | {"high": 1.2}
    assert judge(full, Gate(), Effort.usual())["next_word"] is False
    assert judge(figures(0.5, 0.9), Gate(), Effort.quick())["next_word"] is None


def test_unmeasured_is_not_passed() -> None:
    full = figures(0.0, 0.0)
    full["overall"]["wer_16"] = {"value": None, "low": None, "high": None, "n": 0}
    assert judge(full, Gate(), Effort.usual())["passed"] is None


def test_a_gate_may_ask_for_next_words_alone() -> None:
    """What both word error rates come to is said beside it."""
    full = figures(0.5, 0.9)
    full["overall"]["wer_16"] = full["overall"]["wer_16"] | {"value": 4.0, "high": 5.0}
    verdict = judge(full, Gate(asks="next"), Effort.usual())
    assert (verdict["passed"], verdict["next_word"], verdict["both"]) == (True, True, False)
    assert verdict["limits"]["wer_16"] is None
    assert not verdict["reasons"]
    full["overall"]["wer_next"] = full["overall"]["wer_next"] | {"high": 1.2}
    assert judge(full, Gate(asks="next"), Effort.usual())["passed"] is False


def test_a_domain_may_have_any_name() -> None:
    """A text that is called `overall` is a domain like others, however well it does."""
    full = figures(1.5, 1.8)
    full["domains"]["overall"] = full["domains"].pop("a") | {"wer_next": {"value": 0.0, "low": 0.0, "high": 0, "n": 9}}
    assert judge(full, Gate(), Effort.usual())["passed"] is False
    worse = figures(0.5, 0.9, domain=2.01)
    worse["domains"]["overall"] = worse["domains"].pop("a")
    verdict = judge(worse, Gate(), Effort.usual())
    assert verdict["passed"] is False
    assert "wer_next in overall is 2.01 %" in verdict["reasons"][0]


def test_a_gate_asks_for_something_known() -> None:
    with pytest.raises(ValueError, match="asks is 'none', expected one of both, next"):
        Gate(asks="none")

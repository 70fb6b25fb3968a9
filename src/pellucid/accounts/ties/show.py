"""Ties in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def line(label: str, tie: Mapping[str, Any]) -> str:
    """What was measured of a variable."""
    from pellucid.accounts.ties.find import RULES

    if tie["tie"] is None:
        return f"{label}: no tie, {tie['why']}"
    own, from_ = tie["agreement"], "" if tie["sources"] == RULES else ", taken from any rule"
    if not tie.get("reliable", True):
        from_ += ", some of rules that are often wrong"
    interval = f"[{100 * own['low']:.1f}, {100 * own['high']:.1f}]"
    return (
        f"{label}: {tie['tie']} moves it in {_percent(own)} {interval} of {own['n']} pairs of "
        f"{tie['prompts']} prompts{from_}; "
        f"best random set {_percent(tie['random'])}, all other heads {_percent(tie['complement'])}{_inside(tie)}"
    )


def _inside(tie: Mapping[str, Any]) -> str:
    """What carries it behind the token that was found."""
    if not (inside := tie.get("inside")):
        return ""
    beside = f"best random set {_percent(inside['random'])}"
    return f"; behind the token {inside['tie']} moves it in {_percent(inside['agreement'])}, {beside}"


def lines(variables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What was measured of variables, the best first; what files say of the others."""
    measured = {label: told["measured"] for label, told in variables.items() if told.get("measured")}
    order = sorted(measured, key=lambda label: -(measured[label]["agreement"]["value"] or 0.0))
    yield from (line(label, measured[label]) for label in order)
    if others := [label for label in variables if label not in measured]:
        yield f"not measured: {', '.join(others)}; `pellucid accounts DIR --ties` does that"


def _percent(share: Mapping[str, Any]) -> str:
    return "–" if share["value"] is None else f"{100 * share['value']:.1f} %"

"""Where a program stands: the full one against the gate, the source-only one against tables that understand nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TABLES = ("bigram", "trigram")
"""The references, the weakest first."""


def standing(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of both programs of `report` in one breath, and the weakest table that source-only is `below`.

    Source-only is below a table that agrees with more of the likeliest tokens of the subject, or whose KL is smaller.
    `above` says whether it is below none of those that were measured; None where there is nothing to compare.
    """
    own, tables = _figures(report, "source_only"), {name: _figures(report, name) for name in TABLES}
    known = {name: figures for name, figures in tables.items() if own and figures}
    below = next((name for name, figures in known.items() if own and figures and _worse(own, figures)), None)
    passed = report["gate"]["passed"]
    full = {True: "within the gate", False: "outside the gate", None: "gate not decided"}[passed]
    if passed and report["gate"]["limits"]["wer_16"] is None:
        full += " by next words alone"
    said = "unmeasured"
    if own and known:
        name = below or [*known][-1]
        said = f"{'below' if below else 'above'} the {name} table ({_against(own, known[name])})"
    return {
        "said": f"full program: {full}; source-only: {said}",
        "below": below,
        "above": below is None if known else None,
    }


def _figures(report: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Top-1 in percent and KL in nats of a program or table, None where they were not measured."""
    overall = (report.get(name) or {"overall": {}})["overall"]
    top, kl = ((overall.get(metric) or {"value": None})["value"] for metric in ("top1", "kl"))
    return None if top is None or kl is None else (top, kl)


def _worse(own: tuple[float, float], table: tuple[float, float]) -> bool:
    return own[0] < table[0] or own[1] > table[1]


def _against(own: tuple[float, float], table: tuple[float, float]) -> str:
    """The figures that decide: top-1, and KL where that is what is worse."""
    if own[0] >= table[0] and own[1] > table[1]:
        return f"KL {own[1]:.2f} against {table[1]:.2f} nats"
    return f"{own[0]:.0f} against {table[0]:.0f} % top-1"

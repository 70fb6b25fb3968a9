"""The accuracy criterion, computed from the figures of a full program and never written by hand."""

from __future__ import annotations

from typing import Any

from pellucid.match.manifest import Gate


def judge(full: dict[str, dict[str, dict[str, Any]]], gate: Gate, *, quick: bool) -> dict[str, Any]:
    """Whether the figures `full` (`{overall|DOMAIN: {METRIC: {value, low, high, n}}}`) pass `gate`.

    Returns `{passed: bool | None, limits, reasons}`; `passed` is None where something needed was not measured or where
    fewer contexts were measured than the gate asks for (always so with `quick`) and nothing failed: a wide interval
    fails only where there were enough of them to narrow it.
    """
    failed: list[str] = []
    missing: list[str] = []
    for metric, limit in (("wer_next", gate.wer_next), ("wer_16", gate.wer_16)):
        entry = full["overall"].get(metric, {})
        if entry.get("value") is None:
            missing.append(f"{metric} is unmeasured.")
            continue
        enough = entry["n"] >= gate.contexts
        if entry["high"] > limit and (enough or entry["value"] > limit):
            failed.append(f"{metric}: upper 95 % bound {entry['high']:.2f} % is above {limit} %.")
        if not enough:
            missing.append(f"{metric} rests on {entry['n']:,} contexts, {gate.contexts:,} are needed.")
        for domain, block in full.items():
            value = block.get(metric, {}).get("value")
            if domain != "overall" and value is not None and value > gate.domain:
                failed.append(f"{metric} in {domain} is {value:.2f} %, above {gate.domain} %.")
    if quick:
        missing.append("This was a quick run.")
    passed = False if failed else None if missing else True
    limits = {"wer_next": gate.wer_next, "wer_16": gate.wer_16, "domain": gate.domain, "contexts": gate.contexts}
    return {"passed": passed, "limits": limits, "reasons": failed or missing}

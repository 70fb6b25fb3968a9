"""The accuracy criterion, computed from the figures of a full program and never written by hand."""

from __future__ import annotations

from typing import Any

from pellucid.base.effort import Effort
from pellucid.measure.ledger import Report
from pellucid.project.manifest import Gate


def judge(full: Report, gate: Gate, effort: Effort) -> dict[str, Any]:
    """Whether the figures `full` of a program pass `gate`.

    Returns `{passed, both, next_word, limits, reasons}`. `passed` is about what the gate asks for, `both` about both
    word error rates, `next_word` about that of next words alone. Each is None where something needed was not measured,
    or where fewer contexts were measured than the gate asks for (always so in a quick run) and nothing failed: a wide
    interval fails only where there were enough of them to narrow it, and so does a domain that may be within its limit.
    A limit that is not asked for is None.
    """
    whole = {"wer_next": gate.wer_next, "wer_16": gate.wer_16}
    findings = {metric: _findings(full, metric, limit, gate) for metric, limit in whole.items()}
    quickly = ["This was a quick run."] if effort.is_quick else []

    def reasons(metrics: list[str]) -> tuple[list[str], list[str]]:
        failed, missing = ([reason for metric in metrics for reason in findings[metric][at]] for at in (0, 1))
        return failed, missing + quickly

    failed, missing = reasons(list(gate.limits))
    return {
        "passed": _verdict(failed, missing),
        "both": _verdict(*reasons(list(whole))),
        "next_word": _verdict(*reasons(["wer_next"])),
        "limits": dict.fromkeys(whole) | gate.limits | {"domain": gate.domain, "contexts": gate.contexts},
        "reasons": failed or missing,
    }


def _verdict(failed: list[str], missing: list[str]) -> bool | None:
    return False if failed else None if missing else True


def _findings(full: Report, metric: str, limit: float, gate: Gate) -> tuple[list[str], list[str]]:
    """What fails in one word error rate, and what is missing to be sure of it."""
    failed: list[str] = []
    missing: list[str] = []
    entry: Any = full["overall"].get(metric) or {}
    if entry.get("value") is None:
        return failed, [f"{metric} is unmeasured."]
    enough = entry["n"] >= gate.contexts
    if entry["high"] > limit and (enough or entry["value"] > limit):
        failed.append(f"{metric}: upper 95 % bound {entry['high']:.2f} % is above {limit} %.")
    if not enough:
        missing.append(f"{metric} rests on {entry['n']:,} contexts, {gate.contexts:,} are needed.")
    for domain, block in full["domains"].items():
        local: Any = block.get(metric) or {}
        if local.get("value") is not None and local["value"] > gate.domain:
            sure = enough or (local["low"] is not None and local["low"] > gate.domain)
            said = f"{metric} in {domain} is {local['value']:.2f} %, above {gate.domain} %"
            (failed if sure else missing).append(f"{said}." if sure else f"{said}, on {local['n']:,} contexts.")
    return failed, missing

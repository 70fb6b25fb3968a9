"""What the programs and metrics of a report are called, and a figure with its interval as text."""

from __future__ import annotations

from typing import Any

METRICS = {"wer_next": "next word %", "wer_16": "16 words %", "top1": "top-1 %", "kl": "KL", "ce_gap": "CE gap"}
"""Word errors and agreement in percent, the others in nats per token."""
ROWS = {
    "full": "full program",
    "source_only": "source-only (code)",
    "source_only_all": "source-only (all)",
    "noise_floor": "noise floor (bfloat16)",
    "trigram": "trigram reference",
    "bigram": "bigram reference",
}


def figure(entry: dict[str, Any] | None, between: str = " ") -> str:
    """A measured number with its 95 % interval behind it, or a dash where nothing was measured."""
    if entry is None or entry["value"] is None:
        return "–"
    if entry.get("low") is None:
        return _digits(entry["value"])
    return f"{_digits(entry['value'])}{between}[{_digits(entry['low'])}, {_digits(entry['high'])}]"


def _digits(value: float) -> str:
    """Three digits or so: 100, 97.2, 2.31, 0.023, 1.2e-05."""
    size = abs(value)
    if size == 0 or size >= 99.95:
        return f"{value:.0f}"
    return (
        f"{value:.1e}"
        if size < 0.001
        else f"{value:.3f}"
        if size < 1
        else f"{value:.2f}"
        if size < 10
        else f"{value:.1f}"
    )

"""What is said of a program: never that it passed alone, where the source-only one is worth less than a table."""

from __future__ import annotations

from typing import Any

import pytest

from pellucid.verify.standing import standing
from pellucid.view.scoreboard import gate_line


def block(top1: float, kl: float) -> dict[str, Any]:
    return {"overall": {"top1": {"value": top1}, "kl": {"value": kl}}, "domains": {}}


def report(
    own: tuple[float, float] | None, passed: bool | None = True, **tables: tuple[float, float]
) -> dict[str, Any]:
    limits = {"wer_next": 1.0, "wer_16": 1.0}
    blocks = {name: block(*found) for name, found in tables.items()}
    return {
        "source_only": own and block(*own),
        "gate": {"passed": passed, "limits": limits, "reasons": ["why."]},
    } | blocks


@pytest.mark.parametrize(
    ("own", "said", "below"),
    [
        ((24.1, 5.6), "below the bigram table (24 against 50 % top-1)", "bigram"),
        ((52.0, 0.5), "below the trigram table (52 against 70 % top-1)", "trigram"),
        ((75.0, 0.9), "below the trigram table (KL 0.90 against 0.82 nats)", "trigram"),
        ((81.2, 0.49), "above the trigram table (81 against 70 % top-1)", None),
    ],
)
def test_source_only_stands_beside_the_gate(own: tuple[float, float], said: str, below: str | None) -> None:
    found = report(own, bigram=(50.0, 1.5), trigram=(70.0, 0.82))
    assert standing(found) == {
        "said": f"full program: within the gate; source-only: {said}",
        "below": below,
        "above": below is None,
    }
    line = gate_line(found)
    assert line.plain == f"Full program: within the gate; source-only: {said}."
    assert ("green" in str(line.style)) == (below is None)
    assert "passed" not in line.plain


def test_what_was_not_measured_is_said_so() -> None:
    assert standing(report(None, None)) == {
        "said": "full program: gate not decided; source-only: unmeasured",
        "below": None,
        "above": None,
    }
    failed = report((90.0, 0.1), False, bigram=(50.0, 1.5))
    assert gate_line(failed).plain == (
        "Full program: outside the gate; source-only: above the bigram table (90 against 50 % top-1). why."
    )

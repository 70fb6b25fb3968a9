"""Planning what fits into a given time."""

from __future__ import annotations

from pellucid.base.effort import Effort
from pellucid.measure.pace import Pace, plan, probe, sampling_tokens

FAST, SLOW = Pace(1e-5, 1e-4), Pace(4e-3, 8e-3)


def test_a_probe_times_a_predictor(markov) -> None:
    pace = probe(markov)
    assert 0 < pace.read < 1
    assert 0 < pace.write < 1


def test_a_full_plan_has_five_thousand_contexts_however_long() -> None:
    found = plan({"subject": SLOW, "full": SLOW}, "subject", 1024, 50257, 73_728, Effort.usual())
    assert found.settings.contexts == 5000
    assert found.rows * 8 >= 5000
    assert found.length == 1024
    assert found.seconds > 3600
    assert "5,000 contexts" in str(found)


def test_a_quick_plan_fits_into_its_time() -> None:
    fast = plan({"subject": FAST, "full": FAST}, "subject", 256, 4096, 6144, Effort.quick())
    assert fast.settings.contexts == 500
    slow = plan({"subject": SLOW, "full": SLOW, "noise": SLOW}, "subject", 1024, 50257, 73_728, Effort.quick())
    assert slow.settings.contexts < 500
    assert slow.seconds <= 90
    assert slow.memory < 4 * 2**30


def test_a_given_time_limits_a_full_plan_too() -> None:
    found = plan({"subject": SLOW, "full": SLOW}, "subject", 1024, 50257, 73_728, Effort.usual(), seconds=60.0)
    assert found.seconds <= 61


def test_a_slow_subject_writes_less_text_for_itself() -> None:
    assert sampling_tokens(FAST, Effort.usual()) == 400_000
    assert sampling_tokens(FAST, Effort.quick()) == 100_000
    assert sampling_tokens(SLOW, Effort.quick()) == 20_000

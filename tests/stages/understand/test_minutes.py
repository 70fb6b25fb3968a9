"""Minutes become steps by the sizes of a model alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_support import Workshop, limits
from pellucid.base.effort import Effort
from pellucid.base.errors import CorpusError, ProjectError
from pellucid.family.slots import Sizes
from pellucid.pipeline import request as asking
from pellucid.pipeline.request import Request
from pellucid.project.manifest import RunSettings
from pellucid.stages.understand.minutes import WORTH, Budget, given, needed, seconds, within
from pellucid.stages.understand.plan import MOST_BRISK, plan_of, step_tokens
from pellucid.subject.load import load_subject

VILLAGE = load_subject("zoo:village").decoder
NUMBERS = 47_040
GPT2 = replace(VILLAGE, blocks=VILLAGE.blocks[:1] * 12, sizes=Sizes(768, 12, 12, 64, 3072, 50257, 1024))


@pytest.mark.parametrize(("minutes", "steps"), [(0.0, 0), (2.0, 0), (3.0, 191), (5.0, 518), (60.0, MOST_BRISK)])
def test_the_table_of_the_village(minutes: float, steps: int) -> None:
    assert within(VILLAGE, NUMBERS, minutes).steps == steps


def test_steps_fit_into_their_minutes_and_one_more_would_not() -> None:
    for minutes in (needed(VILLAGE, NUMBERS), 4.0, 7.5):
        found = within(VILLAGE, NUMBERS, minutes)
        assert found.steps >= WORTH
        assert found.seconds <= 60 * minutes < seconds(VILLAGE, NUMBERS, found.steps + 1)
        assert found == replace(given(VILLAGE, NUMBERS, found.steps), minutes=minutes)
    assert within(VILLAGE, NUMBERS, 0.99 * needed(VILLAGE, NUMBERS)).steps == 0


def test_a_model_of_gpt2_s_size_is_not_trained_by_default() -> None:
    assert within(GPT2, 6_200_000, 3.0).steps == 0
    assert 60 < needed(GPT2, 6_200_000) < 120


def test_few_steps_are_brisk() -> None:
    few, many = (plan_of(VILLAGE, steps, 1) for steps in (MOST_BRISK, MOST_BRISK + 1))
    assert (few.brisk, many.brisk) == (True, False)
    assert (few.kinds, few.values, few.late) == (96, 64, 48)
    assert (many.kinds, many.values, many.late) == (128, 96, 64)
    assert 2 * step_tokens(VILLAGE, MOST_BRISK) == step_tokens(VILLAGE, MOST_BRISK + 1) == 2048
    assert few.pruned_at / few.steps < many.pruned_at / many.steps
    assert len(few.counted_at) < len(many.counted_at)


def begun(workshop: Workshop, directory: Path, **asked: Any) -> RunSettings:
    """The settings of a decompilation that has begun."""
    request = Request(
        subject=str(workshop.subject),
        directory=directory,
        corpus=(workshop.text,),
        effort=Effort.quick(),
        trust=True,
        **asked,
    )
    return asking.begin(request, load_subject(str(workshop.subject))).manifest.settings


def test_minutes_become_steps_once_and_are_stored(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits(monkeypatch, minutes=2.0)
    monkeypatch.setattr(asking, "within", lambda *_: Budget(20, 90.0, 2.0))
    found = begun(workshop, workshop.fresh)
    assert (found.understand, found.minutes) == (20, 2.0)
    assert "--minutes 2: 20 steps of training, about 1.5 min of one core, for all sources" in capsys.readouterr().err
    monkeypatch.setattr(asking, "within", None)
    assert begun(workshop, workshop.fresh) == found
    given = begun(workshop, workshop.fresh, understand=0)
    assert (given.understand, given.minutes) == (0, 0.0)
    assert begun(workshop, workshop.fresh) == given


def test_too_few_minutes_and_too_little_text_are_said(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking, "within", lambda *_: Budget(0, 0.0, 0.5))
    assert begun(workshop, workshop.fresh, minutes=0.5).understand == 0
    assert "--minutes 0.5: too few to train all sources of a model of this size" in capsys.readouterr().err
    monkeypatch.setattr(asking, "within", lambda *_: Budget(900, 60.0, 1.0))

    def short(*_: object) -> None:
        raise CorpusError("9 tokens of fit text are too few")

    monkeypatch.setattr(asking, "planned", short)
    assert begun(workshop, workshop.fresh, minutes=1.0).understand == 0
    assert "every source is found by itself, not trained with the others: 9 tokens" in capsys.readouterr().err
    with pytest.raises(CorpusError, match="9 tokens"):
        begun(workshop, workshop.fresh, understand=900)
    with pytest.raises(ProjectError, match="--minutes -1: expected 0 or more"):
        begun(workshop, workshop.fresh, minutes=-1.0)

"""Log-probabilities of answers, beside what one run over each whole text gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.accounts import answers, scores
from pellucid.accounts.scores import log_probabilities
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model

PROMPTS = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
ANSWERS = [[1], [2, 3], [2, 4, 5], [2, 4, 6], [7, 7], [10]]


@dataclass(frozen=True)
class Plain:
    """A program that changes nothing."""

    model: Model

    def edits(self, _ids: torch.Tensor) -> Mapping[str, object]:
        return {}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(checkpoints.in_memory(checkpoints.hugging_face()))


def by_hand(model: Model) -> np.ndarray:
    """Every answer behind every prompt, each in a run of its own."""
    found = np.zeros((len(PROMPTS), len(ANSWERS)))
    for row, prompt in enumerate(PROMPTS):
        for column, answer in enumerate(ANSWERS):
            said = model.logits(torch.tensor([prompt + answer]))[0].log_softmax(-1)
            found[row, column] = sum(float(said[len(prompt) + at - 1, token]) for at, token in enumerate(answer))
    return found


def test_the_tokens_of_an_answer_are_summed(model: Model) -> None:
    found = log_probabilities(model, PROMPTS, ANSWERS)
    np.testing.assert_allclose(found, by_hand(model), rtol=1e-4, atol=1e-4)


def test_a_program_that_runs_whole_rows_gives_the_same(model: Model) -> None:
    found = log_probabilities(Plain(model), PROMPTS, ANSWERS)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, by_hand(model), rtol=1e-4, atol=1e-4)


def test_it_does_not_matter_how_much_is_held_at_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((answers, "BATCH"), (scores, "BATCH"), (scores, "LOGITS")):
        monkeypatch.setattr(module, name, 1)
    found = log_probabilities(model, PROMPTS, ANSWERS)
    np.testing.assert_allclose(found, by_hand(model), rtol=1e-4, atol=1e-4)


def test_answers_of_one_token_may_fill_the_context_and_longer_ones_need_room(model: Model) -> None:
    full = [[1] * 16]
    assert log_probabilities(model, full, [[2]]).shape == (1, 1)
    with pytest.raises(PellucidError, match="has 16 tokens and 1 behind it, but random reads 16; ask in fewer words"):
        log_probabilities(model, full, [[2, 3]])

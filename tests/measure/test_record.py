"""Places whose predictions a step compares, and what is predicted there."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.exact.model import Model
from pellucid.measure import record
from pellucid.measure.record import compared_places, predictions
from pellucid.subject.load import load_subject

IDS = torch.arange(24).view(3, 8) % 7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    directory = tmp_path_factory.mktemp("subject")
    checkpoints.write(directory, checkpoints.hugging_face())
    return Model(load_subject(directory))


def test_all_places_are_compared_where_the_vocabulary_is_small(model: Model) -> None:
    assert compared_places(model, IDS, 0).tolist() == list(range(24))


def test_of_a_large_vocabulary_another_sample_of_places_each_step(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "STEP_LOGITS", 5 * model.n_vocab)
    samples = [compared_places(model, IDS, seed).tolist() for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    for sample in samples:
        assert len(set(sample)) == 5
        assert sample == sorted(sample)
        assert 0 <= sample[0] <= sample[-1] < 24


def test_predictions_at_places_are_those_of_the_whole(model: Model) -> None:
    at = torch.tensor([3, 11, 23])
    whole = model.logits(IDS).log_softmax(-1).flatten(0, 1)
    assert torch.allclose(predictions(model, model.run(IDS, ("final",))["final"], at), whole[at], atol=1e-5)

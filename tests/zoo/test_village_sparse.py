"""The shipped sparse model: as sparse and as good as its card says, and its program is all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import pellucid
from pellucid import zoo
from pellucid.exact.model import Model
from pellucid.family.canonical import stored
from pellucid.forms.forms import token_texts
from pellucid.stages.wired.read import plain_norms, weights_left
from pellucid.stages.wired.write import write_up
from pellucid.subject.load import load_subject
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import Score, accuracy, argmax, examples

POINTS = 0.02
"""What each phenomenon may lose beside the dense model."""
SLACK = 0.015
"""What a sample of a few hundred stories may fall short by chance."""


@pytest.fixture(scope="module")
def model() -> Model:
    return pellucid.load("zoo:village-sparse")


@pytest.fixture(scope="module")
def scores(model: Model) -> dict[str, Score]:
    tokenizer = Tokenizer.from_file(str(zoo.path("village-sparse") / "tokenizer.json"))

    def logits(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.logits(torch.from_numpy(rows)).numpy()

    return accuracy(examples(Village().stories("test", 10_000, 300), tokenizer), argmax(logits))


def test_few_weights_are_left_in_few_digits() -> None:
    subject = load_subject("zoo:village-sparse")
    weights = stored(subject.decoder, subject.weights)
    card = zoo.card("village-sparse")
    assert sum(tensor.numel() for tensor in weights.values()) == card["parameters"]
    assert weights_left(weights) <= card["left"] + 64  # the heights of waves are counted once, not at every position
    assert plain_norms(weights)


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_it_is_hardly_worse_than_the_dense_model(scores: dict[str, Score], phenomenon: str) -> None:
    for group, row in zoo.card("village-sparse")["accuracy"].items():
        if group.split(",")[0] == phenomenon:
            assert row["sparse"]["first"] >= row["dense"]["first"] - POINTS, group
            assert scores[group].first >= row["dense"]["first"] - POINTS - SLACK, group


def test_its_program_is_all_of_it(model: Model) -> None:
    text = write_up(model.decoder, stored(model.decoder, model.weights), token_texts(model.tokenizer))
    assert text is not None
    assert set(text.statements) == set(model.decoder.addresses.addresses())

"""The shipped model: complete, and as good as its card says."""

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

from pellucid import zoo
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import accuracy, argmax, close_calls, examples

TARGETS = dict.fromkeys(PHENOMENA, 0.99) | {"tracking": 0.97}
SLACK = 0.01
"""What a sample of a few hundred stories may fall short of a target by chance."""


@pytest.fixture(scope="module")
def logits():
    model = GPT2LMHeadModel.from_pretrained(zoo.path("village"), attn_implementation="eager").eval()

    @torch.no_grad()
    def run(rows):
        return model(torch.from_numpy(rows)).logits.numpy()

    return run


@pytest.fixture(scope="module")
def cases():
    tokenizer = Tokenizer.from_file(str(zoo.path("village") / "tokenizer.json"))
    return examples(Village().stories("test", 10_000, 300), tokenizer)


def test_weights_have_hugging_faces_names_and_nothing_else():
    weights = load_file(zoo.path("village") / "model.safetensors")
    assert all(name.startswith("transformer.") and value.dtype == torch.float32 for name, value in weights.items())
    assert weights["transformer.h.0.attn.c_attn.weight"].shape == (128, 384)
    assert sum(value.numel() for value in weights.values()) == zoo.card("village")["parameters"]


BY_PHENOMENON = pytest.mark.parametrize("phenomenon", PHENOMENA)


@pytest.fixture(scope="module")
def scores(logits, cases):
    return accuracy(cases, argmax(logits))


@BY_PHENOMENON
def test_the_model_meets_its_targets(scores, phenomenon):
    for group, score in scores.items():
        if group.split(",")[0] == phenomenon:
            assert min(score.first, score.whole) >= TARGETS[phenomenon] - SLACK, group


@BY_PHENOMENON
def test_the_card_meets_its_targets(phenomenon):
    for group, row in zoo.card("village")["accuracy"].items():
        if group.split(",")[0] == phenomenon:
            assert min(row["model"]["first"], row["model"]["whole"]) >= TARGETS[phenomenon], group


def test_no_trigram_table_comes_near():
    for group, row in zoo.card("village")["accuracy"].items():
        assert max(row["trigram"]["first"], row["trigram"]["whole"]) < 0.6, group


def test_free_choices_have_a_clear_favourite(logits, cases):
    assert close_calls(cases, logits) < 0.1
